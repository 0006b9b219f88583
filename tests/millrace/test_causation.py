"""Records as a tree: each under its cause, with the time between, whatever is missing or written twice."""

from millrace.causation import Hop, hops
from millrace.lineage import Entry


def entry(name: str, cause: str, ms: int) -> Entry:
    return Entry(
        time="", timestamp_ms=1_000 + ms, type=name.title(), id=name, causation_id=cause, position=f"t/0/{ms}", what=""
    )


def drawn(*entries: Entry) -> list[str]:
    return [f"{hop.at_ms}{hop.branch and ' '}{hop.branch}{found.id}" for hop, found in hops(entries)]


def found(*entries: Entry) -> dict[str, Hop]:
    return {hop.id: hop for hop, _ in hops(entries)}


def test_each_record_stands_under_its_cause_with_the_time_since_it() -> None:
    records = (entry("a", "", 0), entry("b", "a", 3), entry("c", "b", 7), entry("d", "a", 9), entry("e", "d", 12))
    assert drawn(*records) == ["0a", "3 ├ b", "7 │ └ c", "9 └ d", "12   └ e"]
    assert {name: hop.hop_ms for name, hop in found(*records).items()} == {"a": None, "b": 3, "c": 4, "d": 9, "e": 3}


def test_a_record_whose_cause_is_forgotten_is_a_root() -> None:
    assert drawn(entry("b", "gone", 5), entry("c", "b", 6)) == ["0b", "1 └ c"]


def test_every_record_is_told_once_though_ids_repeat_or_are_missing_or_go_in_a_circle() -> None:
    twice = (entry("a", "", 0), entry("b", "a", 1), entry("b", "a", 2), entry("c", "b", 3))
    assert [found.position for _, found in hops(twice)] == ["t/0/0", "t/0/1", "t/0/3", "t/0/2"]
    nameless = (entry("", "", 0), entry("", "", 1))
    assert [hop.depth for hop, _ in hops(nameless)] == [0, 0]
    circle = (entry("a", "b", 0), entry("b", "a", 1), entry("c", "c", 2))
    assert sorted(found.id for _, found in hops(circle)) == ["a", "b", "c"]


def test_nothing_is_no_tree() -> None:
    assert hops(()) == []
