"""What counts as applied: nothing beyond the first record that was not, whatever Faust calls acknowledged."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.table_acks import Applied
from tests.conditions import until

AT = TP("t", 0)


class FakeConsumer:
    """Remembers where it was asked to read again."""

    def __init__(self) -> None:
        self.seeks: list[int] = []
        self.owned = {AT}

    def assignment(self) -> set[TP]:
        return self.owned

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self.seeks += partitions.values()


@pytest.fixture
def applied() -> Applied:
    found = Applied()
    found.consumer = FakeConsumer()
    found.start({AT: 5})
    return found


def apply(applied: Applied, *offsets: int) -> list[int]:
    """Offer records in this order; gives those that were admitted and applied."""
    done = []
    for offset in offsets:
        if applied.admits(AT, offset):
            applied.advance(AT, offset)
            done.append(offset)
    return done


async def test_records_in_their_order_are_applied_and_counted(applied: Applied) -> None:
    assert apply(applied, 5, 6, 7) == [5, 6, 7]
    assert applied.prefix(AT) == 8
    assert applied.consumer.seeks == []


async def test_nothing_behind_a_record_that_never_came_is_applied_and_it_is_read_again(applied: Applied) -> None:
    assert apply(applied, 5, 7, 8) == [5]
    assert applied.prefix(AT) == 6
    await until(lambda: applied.consumer.seeks == [6])
    assert apply(applied, 6, 7, 8) == [6, 7, 8]
    await applied.stop()


async def test_the_first_record_of_an_assignment_is_missed_too(applied: Applied) -> None:
    applied.start({AT: 0})
    assert apply(applied, 3, 4) == []
    await until(lambda: applied.consumer.seeks == [0])
    await applied.stop()


async def test_a_gap_of_the_log_itself_is_passed(applied: Applied) -> None:
    applied.fetched(AT, 5, [5, 9, 10])
    assert apply(applied, 5, 9, 10) == [5, 9, 10]
    assert applied.consumer.seeks == []


async def test_a_gap_of_the_log_does_not_hide_a_record_missing_before_it(applied: Applied) -> None:
    applied.fetched(AT, 5, [5, 6, 9])
    assert apply(applied, 5, 9) == [5]
    await until(lambda: applied.consumer.seeks == [6])
    await applied.stop()


async def test_a_record_seen_again_is_not_applied_again(applied: Applied) -> None:
    assert apply(applied, 5, 6, 5, 6, 7) == [5, 6, 7]


async def test_a_record_whose_handler_was_cut_off_is_read_again_when_faust_acknowledges_it(applied: Applied) -> None:
    event = _event(applied, 5)
    assert applied.admits(AT, 5)
    event.ack()  # without `advance`: cancelled, raised or skipped
    await until(lambda: applied.consumer.seeks == [5])
    assert applied.prefix(AT) == 5
    await applied.stop()


async def test_what_was_under_way_at_a_rebalance_does_not_count(applied: Applied) -> None:
    assert applied.admits(AT, 5)
    applied.forget([AT])
    applied.advance(AT, 5)
    assert applied.prefix(AT) is None
    applied.start({AT: 9})
    applied.advance(AT, 5)
    assert applied.prefix(AT) == 9


async def test_what_comes_before_its_partition_has_started_is_read_again(applied: Applied) -> None:
    applied.forget([AT])
    assert apply(applied, 5, 6) == []
    _event(applied, 6).ack()
    applied.start({AT: 5})
    await until(lambda: applied.consumer.seeks == [5])
    assert apply(applied, 5, 6) == [5, 6]
    await applied.stop()


async def test_what_came_early_and_was_committed_since_is_not_asked_for(applied: Applied) -> None:
    applied.forget([AT])
    assert apply(applied, 5, 6) == []
    applied.start({AT: 7})
    await asyncio.sleep(0)
    assert applied.consumer.seeks == []


async def test_a_partition_that_is_gone_is_not_asked_for(applied: Applied) -> None:
    applied.consumer.owned = set()
    apply(applied, 7)
    await until(lambda: not applied._reading_again)
    assert applied.consumer.seeks == []


async def test_an_unanswered_seek_is_repeated(applied: Applied) -> None:
    apply(applied, 7)
    async with asyncio.timeout(5):
        await until(lambda: len(applied.consumer.seeks) >= 2)
    await applied.stop()


async def test_what_was_read_waits_until_something_is_applied(applied: Applied) -> None:
    now_s = [1000.0]
    applied.clock = lambda: now_s[0]
    applied.start({AT: 5})
    now_s[0] += 500
    assert applied.waiting_s({"t"}) == 0, "nothing was read: a quiet topic is no standstill"
    applied.fetched(AT, 5, [5, 6, 9])
    assert applied.waiting_s({"t"}) == 0, "from now on"
    now_s[0] += 40
    applied.fetched(AT, 10, [10])
    assert applied.waiting_s({"t"}) == 40, "what is read later takes nothing from it"
    assert applied.waiting_s({"changelog"}) == 0
    apply(applied, 5)
    assert applied.waiting_s({"t"}) == 0
    now_s[0] += 7
    assert applied.waiting_s({"t"}) == 7, "6 is there still"
    assert apply(applied, 6, 9, 10) == [6, 9, 10]
    now_s[0] += 100
    assert applied.waiting_s({"t"}) == 0


async def test_what_waits_is_of_partitions_that_are_owned_and_counts_from_their_start(applied: Applied) -> None:
    now_s = [1000.0]
    applied.clock = lambda: now_s[0]
    applied.start({AT: 5})
    applied.fetched(AT, 5, [5, 6])
    now_s[0] += 70
    assert applied.waiting_s({"t"}) == 70
    applied.forget([AT])
    assert applied.waiting_s({"t"}) == 0
    applied.fetched(AT, 5, [5, 6])
    assert applied.waiting_s({"t"}) == 0, "it has not started yet"
    applied.start({AT: 5})
    applied.fetched(AT, 5, [5, 6])
    now_s[0] += 3
    assert applied.waiting_s({"t"}) == 3


async def test_a_partition_that_waits_for_its_turn_is_no_standstill_while_another_moves(applied: Applied) -> None:
    now_s, other = [1000.0], TP("t", 1)
    applied.clock = lambda: now_s[0]
    applied.start({AT: 5, other: 0})
    applied.fetched(AT, 5, [5])
    applied.fetched(other, 0, [0, 1])
    now_s[0] += 50
    assert applied.admits(other, 0)
    applied.advance(other, 0)
    now_s[0] += 20
    assert applied.waiting_s({"t"}) == 20


def _event(applied: Applied, offset: int) -> Any:
    message = SimpleNamespace(tp=AT, offset=offset, ack=lambda _: True)
    kind = applied.event_class()
    return kind(SimpleNamespace(consumer=None), None, b"", {}, message)  # type: ignore[arg-type]
