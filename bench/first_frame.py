"""F1: the first frame of a streamed answer, over the topics against the same agents called in this process."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from bench.asking import Ports, in_process, over_topics, prepare, through_gateway
from bench.lab import Lab
from bench.manual import N_CHAMBERS, questions
from bench.measure import Check, Outcome, interleaved, percentile
from bench.serving import serving
from bench.stack import running_stack
from millrace.client import Millrace

HOP_MS = 10.0
_AGENTS = ("agents.corpus", "agents.guard", "agents.query")
_TOPICS, _GATEWAY, _HERE = "over the topics", "through the gateway", "in process"


async def measure(lab: Lab) -> Outcome:
    """Ask questions of the same kinds by three ways, in turns."""
    n, n_chambers = lab.size(150, 4), lab.size(N_CHAMBERS, 3)
    ports = Ports()
    async with (
        running_stack(lab, embedder="hashing", adapt=ports.adapt, agents=_AGENTS) as connection,
        Millrace(connection) as client,
    ):
        await prepare(client, ports.of_questions, n_chambers)
        async with serving(lab, connection) as caller:

            async def topics(asked: Sequence[str]) -> list[float]:
                return await over_topics(client, asked)

            async def gateway(asked: Sequence[str]) -> list[float]:
                return await through_gateway(caller, asked)

            async def here(asked: Sequence[str]) -> list[float]:
                return await in_process(ports.of_questions, asked)

            ways = {_TOPICS: topics, _GATEWAY: gateway, _HERE: here}
            for name, way in ways.items():
                await way(questions(f"warm-up/{name}", lab.size(20, 4), n_chambers))
            found = await interleaved({name: _turns(name, way, n, n_chambers) for name, way in ways.items()},
                                      lab.repetitions)  # fmt: skip
    return Outcome(
        checks=(
            Check(id="F1", what="first frame over the topics, less the agents called in process, p50", relation="<=",
                  limit=HOP_MS, unit="ms", values=_more(found[_TOPICS], found[_HERE])),
        ),
        numbers={
            **{
                f"{name} p{round(share * 100)}, ms": round(percentile([each for run in runs for each in run], share), 2)
                for name, runs in found.items()
                for share in (0.5, 0.95, 0.99)
            },
            "through the gateway, less in process, p50, ms": round(
                statistics.median(_more(found[_GATEWAY], found[_HERE])), 2
            ),
        },
        notes=(
            f"{n} questions a repetition by each way, one at a time, no two alike, on a manual of {n_chambers} "
            "documents; the time ends when the asker has the first piece of the answer, and the rest is read before "
            "the next question. Over the topics: the real client and the real worker, with guards, store and "
            "visibility table; agents that judge answers run in a worker of their own where the first frame counts, "
            "as in docker-compose.yml, and not here. In process: the functions of the same five question agents with "
            "the very same ports, given an event and giving events, with nothing encoded or sent; so what they "
            "compute, search and guard is in both, and the difference is encoding, broker, delivery and the client. "
            "Through the gateway: the same over HTTP, to the first `delta` of a stream of events, all interfaces "
            "mounted. Client, worker and gateway share one process and one event loop, so that the ports can be the "
            "same; the broker has its own. The model is hashed words, because what it takes stands on both sides "
            "and only blurs the difference."
        ),
    )  # fmt: skip


def _turns(
    name: str, way: Callable[[Sequence[str]], Awaitable[list[float]]], n: int, n_chambers: int
) -> Callable[[], Awaitable[list[float]]]:
    """One way with questions of its own for each turn: what was asked before is known to the scanner."""
    turn = count()

    async def run() -> list[float]:
        return await way(questions(f"{name}/{next(turn)}", n, n_chambers))

    return run


def _more(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """How much longer the median takes, turn by turn."""
    return tuple(statistics.median(a) - statistics.median(b) for a, b in zip(ours, theirs, strict=True))
