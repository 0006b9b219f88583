"""What is forgotten depends on what was applied, in which order, and on nothing else."""

import msgspec

from streams.table_entries import Ages, Entry, Touched

DAY_US = 86_400_000_000
KEEP_US = 30 * DAY_US
A, B, C = b"a", b"b", b"c"


def days(n: float) -> int:
    return round((20_000 + n) * DAY_US)


def aged(*touched: tuple[bytes, float]) -> Ages:
    ages = Ages(KEEP_US)
    for key, day in touched:
        ages.touch(0, key, ages.now_us(0, days(day)))
    return ages


def taken(ages: Ages, partition: int = 0) -> list[bytes]:
    found = []
    while (key := ages.oldest_over(partition)) is not None:
        ages.drop(partition, key)
        found.append(key)
    return found


def test_keys_are_over_after_their_days_and_not_before() -> None:
    assert taken(aged((A, 0), (B, 1), (C, 30))) == []
    assert taken(aged((A, 0), (B, 1), (C, 30.5))) == [A]
    assert taken(aged((A, 0), (B, 1), (C, 32))) == [A, B]


def test_a_key_that_was_touched_again_stays() -> None:
    assert taken(aged((A, 0), (B, 1), (A, 5), (C, 32))) == [B]


def test_a_late_event_keeps_its_key_and_turns_no_time_back() -> None:
    ages = aged((A, 0), (B, 40), (A, 2))
    assert ages.now_us(0) == days(40)
    assert taken(ages) == []
    ages.touch(0, C, ages.now_us(0, days(69)))
    assert taken(ages) == []
    ages.touch(0, C, ages.now_us(0, days(71)))
    assert taken(ages) == [B, A]


def test_each_partition_has_a_time_of_its_own() -> None:
    ages = aged((A, 0))
    ages.touch(1, B, days(100))
    assert (taken(ages), taken(ages, 1)) == ([], [])
    assert ages.now_us(0) == days(0)


def test_entries_of_an_older_release_count_as_touched_when_they_are_met() -> None:
    old = msgspec.msgpack.encode({"state": b"", "applied": {"t/0": 3}, "seen": ["x"]})
    entry = msgspec.msgpack.decode(old, type=Entry)
    assert entry.touched_us == msgspec.msgpack.decode(old, type=Touched).touched_us == 0
    ages = Ages(KEEP_US)
    ages.touch(0, A, entry.touched_us)
    ages.touch(0, B, days(100))
    assert not ages.over(entry.touched_us, days(100))
    assert taken(ages) == []
    ages.touch(0, C, days(129))
    assert taken(ages) == []
    ages.touch(0, C, days(131))
    assert taken(ages) == [B, A]


def test_an_older_release_reads_what_this_one_writes() -> None:
    class Older(msgspec.Struct):
        state: bytes = b""
        applied: dict[str, int] = {}
        seen: list[str] = []

    written = msgspec.msgpack.encode(Entry(b"s", {"t/0": 3}, ["x"], days(1)))
    assert msgspec.msgpack.decode(written, type=Older) == Older(b"s", {"t/0": 3}, ["x"])


def test_without_a_limit_nothing_is_over_and_nothing_is_remembered() -> None:
    ages = Ages(None)
    ages.touch(0, A, days(0))
    assert ages.oldest_over(0) is None
    assert not ages.over(days(0), days(10_000))
    assert ages.now_us(0, days(1)) == 0


def test_an_emptied_key_is_over_whatever_its_age_until_it_is_touched_or_gone() -> None:
    ages = aged((A, 0), (B, 1), (C, 2))
    ages.empty(0, B)
    assert taken(ages) == [B]
    ages.empty(0, C)
    ages.touch(0, C, days(3))
    assert taken(ages) == []
    unlimited = Ages(None)
    unlimited.empty(0, A)
    assert taken(unlimited) == [A]


def test_a_key_that_is_not_known_is_dropped_without_a_word() -> None:
    ages = aged((A, 0))
    ages.drop(0, B)
    ages.drop(7, A)
    assert taken(ages) == []
