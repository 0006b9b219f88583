"""Run recorded events again through agents, and compare what they emit with what was recorded.

Nothing is published and no group commits: outputs are captured in memory. An output is paired with its record by its
derived id; reply frames are left out, because their ids name the attempt.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from millrace.agent import AgentSpec
from millrace.event import Event
from millrace.testing import DeadLetter, Memory
from millrace.topics import Topic

Verdict: TypeAlias = Literal["identical", "changed", "missing", "extra"]
MEASURED = frozenset({"timings_ms"})


class Recorded(msgspec.Struct, frozen=True):
    """An event as it was read from the log, with its metadata."""

    topic: str
    event: Event


class Pair(msgspec.Struct, frozen=True):
    """One output, then and now.

    Attributes
    ----------
    verdict
        ``missing``: recorded and not emitted again; ``extra``: emitted now and not recorded.
    fields
        Names of the fields that differ.
    """

    id: str
    topic: str
    verdict: Verdict
    recorded: Event | None
    replayed: Event | None
    fields: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """Outcome of a replay.

    Attributes
    ----------
    n_inputs
        Events that were run again.
    failed
        Inputs that failed now.
    """

    n_inputs: int
    pairs: tuple[Pair, ...]
    failed: tuple[DeadLetter, ...]

    def counts(self) -> Counter[Verdict]:
        """Number of pairs by verdict."""
        return Counter(pair.verdict for pair in self.pairs)


async def replay(
    specs: AgentSpec | Collection[AgentSpec],
    records: Iterable[Recorded],
    *,
    ports: Any = None,
    ignore: Collection[str] = MEASURED,
) -> Comparison:
    """Run the recorded inputs of `specs` again.

    Parameters
    ----------
    specs : AgentSpec or collection of AgentSpec
        The agents, changed or not.
    records : iterable of Recorded
        A range of the agents' source and sink topics, each topic in its order. Records on topics that one of the
        agents writes are what is compared; the others on source topics are the inputs.
    ports : Any
        What the agents work with; see `millrace.testing.run`.
    ignore : collection of str
        Fields that are measured, not decided.

    Raises
    ------
    Unavailable
        If a port is down: a comparison with holes would mislead.
    """
    chosen = [specs] if isinstance(specs, AgentSpec) else list(specs)
    written = _written(chosen)
    read = {topic.name for spec in chosen for topic in spec.sources}
    then: dict[str, Recorded] = {}
    inputs: list[Event] = []
    seen: set[tuple[str, str]] = set()
    for record in records:
        identity = (record.topic, record.event.meta.id)
        if identity in seen:
            continue  # a copy: the first record of an id is the truth
        seen.add(identity)
        topic = written.get(record.topic)
        if topic is None and record.topic in read:
            inputs.append(record.event)
        elif topic is not None and not topic.reply:
            then[record.event.meta.id] = record
    memory = Memory(chosen, ports=ports)
    now: dict[str, Recorded] = {}
    for event in await memory.feed(inputs):
        origin = event.meta.origin
        if origin is not None and not written[origin.topic].reply:
            now.setdefault(event.meta.id, Recorded(origin.topic, event))
    pairs = [_pair(then.get(each), now.get(each), ignore) for each in dict.fromkeys([*then, *now])]
    return Comparison(len(inputs), tuple(pairs), tuple(memory.dead_letters))


def _pair(then: Recorded | None, now: Recorded | None, ignore: Collection[str]) -> Pair:
    known = then or now
    if known is None:
        raise ValueError("a pair needs at least one side")
    verdict: Verdict = "missing" if now is None else "extra"
    fields: tuple[str, ...] = ()
    if then is not None and now is not None:
        fields = tuple(
            name
            for name in then.event.__struct_fields__
            if name not in ignore and getattr(then.event, name) != getattr(now.event, name, None)
        )
        verdict = "changed" if fields else "identical"
    return Pair(
        known.event.meta.id, known.topic, verdict, then.event if then else None, now.event if now else None, fields
    )


def _written(specs: Collection[AgentSpec]) -> dict[str, Topic]:
    stages = [stage for spec in specs for stage in (spec, *spec.stages)]
    return {topic.name: topic for stage in stages for topic in stage.sinks}
