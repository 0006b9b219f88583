"""G1: what the guards add to the first frame of a streamed answer."""

import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agents.ports import QueryPorts, Rank
from bench.asking import Ports, in_process, over_topics, prepare
from bench.lab import Lab
from bench.manual import N_CHAMBERS, questions
from bench.measure import Check, Outcome, percentile
from bench.null_adapters import GuardSwitch
from bench.stack import running_client
from bench.texts import paragraph

GUARDS_MS = 20.0
Way = Callable[[Sequence[str]], Awaitable[list[float]]]


class Pairs:
    """Milliseconds of the same questions with the guards and without them, by turn.

    Attributes
    ----------
    guarded, unguarded : list of list of float
        In the same order.
    """

    def __init__(self) -> None:
        self.guarded: list[list[float]] = []
        self.unguarded: list[list[float]] = []

    async def take(self, way: Way, switch: GuardSwitch, asked: Sequence[str]) -> None:
        """Ask each question both ways; every second pair begins with the guards."""
        times: dict[bool, list[float]] = {True: [], False: []}
        for i, question in enumerate(asked):
            for on in (True, False) if i % 2 else (False, True):
                switch.on = on
                times[on] += await way([question])
        switch.on = True
        self.guarded.append(times[True])
        self.unguarded.append(times[False])

    def added(self, share: float) -> tuple[float, ...]:
        """How much higher the percentile is with the guards, turn by turn."""
        turns = zip(self.guarded, self.unguarded, strict=True)
        return tuple(percentile(guarded, share) - percentile(unguarded, share) for guarded, unguarded in turns)

    @property
    def of_questions(self) -> list[float]:
        """What the guards add to the question at each place of a turn: the median over the turns."""
        turns = zip(self.guarded, self.unguarded, strict=True)
        differences = [[a - b for a, b in zip(*turn, strict=True)] for turn in turns]
        return [statistics.median(place) for place in zip(*differences, strict=True)]


async def measure(lab: Lab) -> Outcome:
    """Ask the same questions with the guards and without them, in pairs."""
    n, n_chambers = lab.size(200, 4), lab.size(N_CHAMBERS, 3)
    ports, switch = Ports(), GuardSwitch()
    topics, here = Pairs(), Pairs()

    def adapt(given: Any) -> Any:
        return ports.adapt(switch.adapt(given))

    async with running_client(lab, embedder="hashing", adapt=adapt) as client:
        await prepare(client, ports.of_questions, n_chambers)

        async def by_topics(asked: Sequence[str]) -> list[float]:
            return await over_topics(client, asked)

        async def by_calls(asked: Sequence[str]) -> list[float]:
            return await in_process(ports.of_questions, asked)

        await Pairs().take(by_topics, switch, questions("warm-up", lab.size(20, 4), n_chambers))
        for turn in range(lab.repetitions):
            await topics.take(by_topics, switch, questions(f"topics/{turn}", n, n_chambers))
            await here.take(by_calls, switch, questions(f"calls/{turn}", n, n_chambers))
        passages = await _passages(ports.of_questions, n)
    return Outcome(
        checks=(
            Check(id="G1", what="first frame with the guards, less without them, p99", relation="<=", limit=GUARDS_MS,
                  unit="ms", values=topics.added(0.99)),
        ),
        numbers={
            **_numbers("over the topics", topics),
            **_numbers("in process", here),
            "scan of a passage that is new to the worker p50, ms": round(percentile(passages, 0.5), 2),
            "scan of a passage that is new to the worker p99, ms": round(percentile(passages, 0.99), 2),
        },
        notes=(
            f"{n} questions a repetition, each asked with the guards and without them, one at a time, one straight "
            "after the other in both orders; the time ends with the first piece of the answer. A quarter of them asks "
            "for an address, which the guards mask, a quarter gives one, and a quarter follows a pasted passage. "
            "Without the guards the policy says that nothing is to be looked at: no rules, no finder of personal data, "
            "no second look at the passages, no scan beside. The budget is held against the difference between the "
            "two 99th percentiles, which is what an asker has of it: that of the single differences would count every "
            "hiccup of the broker or the machine twice, and be far above zero for guards that do nothing. Beside it "
            "stands what they add to a question in the median over the repetitions, where hiccups fall out, and the "
            "99th percentile of that over the questions. All documents were scanned when they came, by this worker; a "
            "passage whose document another one scanned is looked at with all rules when it is quoted for the first "
            "time, which takes as long as the last lines say and is in none of the others."
        ),
    )  # fmt: skip


async def _passages(ports: QueryPorts, n: int) -> list[float]:
    """Milliseconds of scans of passages that were never looked at."""
    rng, times = random.Random("passages"), []
    for _ in range(n):
        began = time.perf_counter()
        await ports.scanner.scan(paragraph(rng), Rank.QUESTION)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _numbers(name: str, pairs: Pairs) -> dict[str, float]:
    guarded, unguarded = ([each for turn in turns for each in turn] for turns in (pairs.guarded, pairs.unguarded))
    found = {}
    for share in (0.5, 0.99):
        at = f"p{round(share * 100)}, ms"
        found[f"{name}: with {at}"] = percentile(guarded, share)
        found[f"{name}: without {at}"] = percentile(unguarded, share)
        found[f"{name}: added to a question {at}"] = percentile(pairs.of_questions, share)
    return {each: round(value, 2) for each, value in found.items()}
