"""Starts, suspects and doubts: what a pump believes of its records and of itself."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from millrace.agent import Batch
from millrace.errors import LogTruncated, Unavailable
from streams.lanes import Item, Lanes
from streams.ledger import Ledger, format_metadata, parse_starts
from streams.pump import Counters, PumpSettings
from streams.pump.company import Company, NotAlone
from streams.pump.delivery import Lost, Work
from streams.pump.flow import Flow
from streams.pump.handling import Verdict
from streams.pump.tenure import SUSPECT, Tenure
from tests.conditions import until
from tests.streams.pump_world import ordered

TP = TopicPartition("t", 0)
QUICK = PumpSettings(retry_initial_ms=1, retry_max_ms=2, session_timeout_ms=1000)


class Group:
    """A consumer whose group keeps what is committed, or refuses it."""

    def __init__(self) -> None:
        self.kept: dict[TopicPartition, OffsetAndMetadata] = {}
        self.refused = 0
        self._coordinator = SimpleNamespace(fetch_committed_offsets=self._committed, generation=1)

    async def commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        if self.refused:
            self.refused -= 1
            raise KafkaError
        self.kept.update({tp: OffsetAndMetadata(*at) for tp, at in offsets.items()})

    async def _committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, OffsetAndMetadata]:
        return {tp: self.kept[tp] for tp in partitions if tp in self.kept}

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 100)

    def assignment(self) -> set[TopicPartition]:
        return {TP}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Nothing is read here."""


class Member:
    """A tenure over a group, with its books."""

    def __init__(self, group: Group | None = None) -> None:
        self.group = group or Group()
        self.now_s = 0.0
        self.ledger = Ledger()
        self.tenure = Tenure("g", self.ledger, QUICK, Counters(), lambda: self.now_s)
        self.tenure.consumer = self.group

    async def begin(self) -> int:
        return (await self.tenure.begin([TP]))[TP]

    def starts(self) -> int:
        """Starts of the head that are on record."""
        at = self.group.kept[TP]
        return parse_starts(at.metadata, at.offset)


def item(offset: int = 0, epoch: int = 1, key: bytes = b"k", *, suspect: bool = False) -> Item:
    work = Work(SimpleNamespace(), ordered("k", offset), suspect=suspect)
    return Item(key, 1, work, TP, offset, epoch)


async def test_a_commit_that_fails_after_a_pause_is_tried_again_while_the_partition_is_ours() -> None:
    member = Member()
    epoch = await member.begin()
    member.now_s, member.group.refused = 60.0, 1
    with pytest.raises(Unavailable):
        await member.tenure.guard(item(epoch=epoch))
    await member.tenure.guard(item(epoch=epoch))
    member.ledger.revoke(TP)
    with pytest.raises(Lost):
        await member.tenure.guard(item(epoch=epoch))


async def test_a_process_that_joins_again_counts_its_own_start_as_nobodys_death() -> None:
    member = Member()
    for _ in range(5):
        epoch = await member.begin()
        assert member.ledger.starts(TP) == 0
        member.ledger.begin(TP, 0)
        assert await member.tenure.record_start(TP, epoch)
        member.group.refused = 1
        await member.tenure.end([TP])
    other = Member(member.group)
    await other.begin()
    assert other.ledger.starts(TP) == 1  # for another process it would be one


async def test_a_start_that_cannot_be_recorded_makes_the_pump_join_anew() -> None:
    member = Member()
    epoch = await member.begin()
    member.ledger.begin(TP, 0)
    member.group.refused = 3
    assert await member.tenure.record_start(TP, epoch)
    member.group.refused = 1000
    with pytest.raises(CommitFailedError):
        await member.tenure.record_start(TP, epoch)
    member.ledger.revoke(TP)
    assert not await member.tenure.record_start(TP, epoch)


async def test_no_start_is_recorded_for_a_partition_that_is_being_given_up() -> None:
    member = Member()
    epoch = await member.begin()
    member.ledger.begin(TP, 0)
    member.tenure.close([TP])
    assert not await member.tenure.record_start(TP, epoch)
    assert member.starts() == 0
    await member.tenure.end([TP])
    epoch = await member.begin()
    member.ledger.begin(TP, 0)
    assert await member.tenure.record_start(TP, epoch)


async def test_the_start_of_a_suspect_counts_only_while_it_is_alone() -> None:
    member = Member()
    member.group.kept[TP] = OffsetAndMetadata(0, format_metadata(SUSPECT, 0))
    epoch = await member.begin()
    member.ledger.begin(TP, 0)
    assert await member.tenure.record_start(TP, epoch)
    assert member.starts() == SUSPECT
    async with member.tenure.accused(TP, epoch):
        assert member.starts() == SUSPECT + 1
    assert member.starts() == SUSPECT


async def test_a_suspect_waits_until_others_have_ended_and_keeps_them_from_starting() -> None:
    company, woken = Company(), list[bool]()
    company.on_free(lambda: woken.append(company.taken))
    entered, leave = asyncio.Event(), asyncio.Event()

    async def suspect() -> None:
        async with company.alone():
            entered.set()
            await leave.wait()

    with company.working():
        task = asyncio.create_task(suspect())
        await until(lambda: company.taken)
        assert not entered.is_set()
    await asyncio.wait_for(entered.wait(), 5)
    assert company.taken
    leave.set()
    await task
    assert (company.taken, woken) == (False, [False])


async def test_a_suspect_that_cannot_be_alone_in_time_lets_the_others_go_on() -> None:
    company = Company(drain_s=0.01)
    with company.working():
        with pytest.raises(NotAlone):
            async with company.alone():
                pytest.fail("it was not alone")
        assert not company.taken


class Scripted:
    """A handler that notes what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.offsets: list[int] = []
        self.error = error
        self.seen: list[Any] = []
        self.look: Any = lambda: None

    async def handle(self, items: Sequence[Item]) -> list[Verdict]:
        self.offsets += [each.offset for each in items]
        self.seen.append(self.look())
        if self.error is not None:
            raise self.error
        return [Verdict("done")] * len(items)


async def flowing(member: Member, handler: Scripted, company: Company, failures: list[BaseException]) -> Flow:
    epoch = await member.begin()
    flow = Flow(
        Lanes(4, Batch(max_items=1, linger_ms=0)), member.ledger, handler, Counters(), failures.append,  # type: ignore[arg-type]
        tenure=member.tenure, company=company,
    )  # fmt: skip
    flow.start(TP, epoch)
    return flow


async def test_after_a_fatal_error_no_later_record_of_the_key_is_handled() -> None:
    member, failures = Member(), list[BaseException]()
    handler = Scripted(LogTruncated("gone"))
    flow = await flowing(member, handler, Company(), failures)
    member.ledger.begin_many(TP, [0, 1])
    for offset in (0, 1):
        flow.enter(item(offset))
    flow.dispatch()
    await flow.drain()
    flow.dispatch()
    await flow.drain()
    assert handler.offsets == [0]
    assert len(failures) == 1


async def test_a_suspect_is_handled_alone_with_its_start_on_record_and_others_after_it() -> None:
    member, company = Member(), Company()
    member.group.kept[TP] = OffsetAndMetadata(0, format_metadata(SUSPECT, 0))
    handler, other = Scripted(), Scripted()
    handler.look = lambda: (company.taken, member.starts())
    flow = await flowing(member, handler, company, [])
    beside = Member()
    neighbour = await flowing(beside, other, company, [])
    member.ledger.begin(TP, 0)
    beside.ledger.begin(TP, 0)
    with company.working():
        flow.enter(item(0, suspect=True))
        flow.dispatch()
        await until(lambda: company.taken)
        neighbour.enter(item(0))
        neighbour.dispatch()
        assert (handler.offsets, other.offsets) == ([], [])
    await flow.drain()
    await until(lambda: other.offsets == [0])
    assert handler.seen == [(True, SUSPECT + 1)]
    assert member.ledger.prefix(TP) == 1


async def test_a_suspect_of_a_partition_that_is_being_given_up_is_left_to_the_next_owner() -> None:
    member, failures = Member(), list[BaseException]()
    member.group.kept[TP] = OffsetAndMetadata(0, format_metadata(SUSPECT, 0))
    handler = Scripted()
    flow = await flowing(member, handler, Company(), failures)
    member.ledger.begin(TP, 0)
    member.tenure.close([TP])
    flow.enter(item(0, suspect=True))
    flow.dispatch()
    await flow.drain()
    assert (handler.offsets, failures) == ([], [])
    assert member.ledger.oldest(TP) == 0
