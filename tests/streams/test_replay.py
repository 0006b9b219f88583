"""Replay pairs what was emitted then with what is emitted now."""

from typing import Any

from millrace.testing import Memory
from streams.replay import Recorded, replay
from tests.millrace.test_invoke import spec
from tests.streams.pump_world import Handled, Ordered, handled, ordered


def relay(event: Ordered) -> Handled:
    return handled(event)


async def recorded(function: Any, n: int) -> list[Recorded]:
    memory = Memory(spec(function))
    await memory.feed([ordered(f"k{i}", i) for i in range(n)])
    return [Recorded(topic, event) for topic, events in memory.topics.items() for event in events]


async def test_the_same_code_gives_identical_outputs() -> None:
    found = await replay(spec(relay), await recorded(relay, 5))
    assert found.n_inputs == 5
    assert found.counts() == {"identical": 5}


async def test_changes_are_told_apart() -> None:
    records = await recorded(relay, 4)

    def changed(event: Ordered) -> Handled | None:
        return None if event.n == 1 else handled(event, "new" if event.n == 2 else "")

    changed.__name__ = "relay"
    found = await replay(spec(changed, name="relay"), records)
    assert found.counts() == {"identical": 2, "changed": 1, "missing": 1}
    [pair] = [pair for pair in found.pairs if pair.verdict == "changed"]
    assert pair.fields == ("by",)


async def test_a_copy_in_the_recording_counts_once() -> None:
    records = await recorded(relay, 2)
    found = await replay(spec(relay), [*records, *records])
    assert (found.n_inputs, found.counts()) == (2, {"identical": 2})


def placed(event: Ordered) -> Handled:
    return handled(event, str(event.meta.origin))


async def test_an_input_is_read_from_where_it_stood() -> None:
    records = [record for record in await recorded(placed, 4) if record.event.n >= 2]  # type: ignore[attr-defined]
    found = await replay(spec(placed), records)
    assert (found.n_inputs, found.counts()) == (2, {"identical": 2})
