"""Laws about questions asked again: what was is found again, what is differs for a reason, and nothing is touched."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.replaying import Overrides, Range, ReplayOptions, replay_questions
from infra.replaying.session import opened
from millrace.client import Millrace
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.evaluation.replayed import ContextMode, Replay, Side, same_answer
from millrace.positions import READER_GROUP, log_bounds
from millrace.topics import QUERY_RECEIVED
from streams.recorded.pace import GROUP, LiveQuestions
from streams.recorded.questions import read_recording
from streams.stores.lance import LanceVectorStore
from streams.visibility.table import VisibilityTable
from tests.conditions import until
from tests.system.stacks import System

N_DOCUMENTS = 10
N_QUESTIONS = 18
SETTINGS = ("models.embedder=hashing",)
OPEN_SEARCH = ("query.exact_below_chunks=0", "query.restrict_below_documents=0")
UNGUARDED = ("guard.questions=false", "guard.answers=false")  # their rules take seconds to load


def text(document: int, edition: int) -> str:
    """Two sections; only the fee changes from edition to edition."""
    return (
        f"# Pier {document}\n\nThe mooring fee at pier {document} is {100 * edition + document} crowns a night, and "
        "it is paid at the harbour office before the boat is tied up by its crew.\n\n"
        f"# Crane {document}\n\nThe crane at pier {document} lifts {document + 3} tons; ask the foreman for the key "
        "and wear a helmet while the load hangs above the quay, whatever the weather is.\n"
    )


@dataclass
class Asked:
    """What was asked of a corpus that changed meanwhile."""

    system: System
    tenant: str

    async def again(self, context: ContextMode = "at_watermark", *changed: str, limit: int = 0) -> Replay:
        """Ask again as fast as it goes."""
        return await replay_questions(
            self.system.connection,
            Overrides.read(self.system.settings.home, [*SETTINGS, *(changed or UNGUARDED)]),
            Range(tenant=self.tenant, limit=limit),
            ReplayOptions(context=context, rate=0, yields=False),
        )


async def put(client: Millrace, documents: Sequence[int], edition: int) -> None:
    """Write an edition of some documents, and wait until it is visible."""
    receipts = [
        await client.put_document(f"{n}.md", text(n, edition), version=edition, groups=["*"]) for n in documents
    ]
    assert {outcome.outcome for outcome in await client.wait(receipts, 60)} == {"indexed"}


async def record(system: System, tenants: Sequence[str]) -> None:
    """Ask while documents of ten get new editions, one of them twice, and one goes."""
    async with system.inside():
        for tenant in tenants:
            async with system.client(tenant=tenant) as client:
                await put(client, range(N_DOCUMENTS), 1)
                for n in range(N_QUESTIONS):
                    if n == N_QUESTIONS // 3:
                        await put(client, (0, 1), 2)
                    if n == 2 * N_QUESTIONS // 3:
                        await put(client, (0,), 3)
                        await client.wait([await client.delete_document("2.md", version=2)], 60)
                    await client.ask(f"What is the mooring fee at pier {n % 4}?", exact=True)


@pytest.fixture(scope="module")
def _recorded(_system: System) -> tuple[Asked, Asked]:
    tenants = [f"replayed-{secrets.token_hex(6)}" for _ in range(2)]
    asyncio.run(record(_system, tenants))
    return Asked(_system, tenants[0]), Asked(_system, tenants[1])


@pytest.fixture
def asked(_recorded: tuple[Asked, Asked]) -> Asked:
    """Questions asked while the corpus changed; the workers have ended since."""
    return _recorded[0]


@pytest.fixture
def erased(_recorded: tuple[Asked, Asked]) -> Asked:
    """The same of another tenant, whose rows a test may take away."""
    return _recorded[1]


def compared(found: Replay) -> list[tuple[Side, Side]]:
    """Both sides of every question that was searched for; one that a busy worker gave back is not among them."""
    answered = [pair for pair in found.pairs if pair.then is not None and pair.then.status != "failed"]
    assert [pair.detail for pair in answered if pair.incomplete] == []
    sides = [(pair.then, pair.now) for pair in answered if pair.then is not None and pair.now is not None]
    assert len(sides) == N_QUESTIONS
    assert all(then.chunks and then.exact for then, _ in sides)
    return sides


def n_same(found: Replay) -> int:
    """How many questions found the same chunks in the same order."""
    return sum(then.chunks == now.chunks for then, now in compared(found))


async def test_questions_asked_in_exact_mode_find_the_same_chunks_again_at_their_watermarks(asked: Asked) -> None:
    found = await asked.again()
    assert n_same(found) == N_QUESTIONS
    assert all(same_answer(then, now) for then, now in compared(found))
    assert len({then.watermark for then, _ in compared(found)}) >= 3
    assert all(then.watermark == now.watermark for then, now in compared(found))


async def test_without_the_watermark_the_same_questions_do_not_find_the_same_chunks(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_of = VisibilityTable.visible

    def as_of_now(self: VisibilityTable, *args: object, at: str | None = None, **options: object) -> object:
        return as_of(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(VisibilityTable, "visible", as_of_now)
    assert n_same(await asked.again()) < N_QUESTIONS


async def test_asked_as_of_now_each_difference_has_its_reason(asked: Asked) -> None:
    found = await asked.again("now")
    assert 0 < n_same(found) < N_QUESTIONS  # those asked after the last change find the same
    different = [pair for pair in found.compared if pair.then and pair.now and pair.then.chunks != pair.now.chunks]
    assert all(pair.changes for pair in different)
    assert {"-superseded", "-deleted", "+new"} <= set(found.changes)


async def test_a_recorded_context_shows_what_the_reader_does_and_nothing_of_the_corpus(asked: Asked) -> None:
    same = compared(await asked.again("recorded"))
    assert all(then.chunks == now.chunks and same_answer(then, now) for then, now in same)
    assert any(then.status == "answered" for then, _ in same)
    found = await asked.again("recorded", *UNGUARDED, "query.answer_threshold=9")
    assert found.changed["query.answer_threshold"] == ("0.55", "9.0")
    assert all(then.chunks == now.chunks and now.status == "not_found" for then, now in compared(found))


async def test_a_changed_policy_shows_at_the_watermark(asked: Asked) -> None:
    found = await asked.again("at_watermark", *UNGUARDED, "query.dense_weight=0.0", "query.rerank_weight=0.0")
    assert n_same(found) < N_QUESTIONS
    assert set(found.changes) <= {"order", "-rank", "+rank"}  # the corpus is the one of then


async def test_a_search_by_neighbours_looks_among_superseded_rows_too(asked: Asked) -> None:
    """The 20 chunks of then are fewer than the candidates, so nothing but the archive can be missed."""
    overrides = Overrides.read(asked.system.settings.home, [*SETTINGS, *UNGUARDED, *OPEN_SEARCH])
    connection = asked.system.connection
    codec = codec_of(connection)
    questions = read_recording(connection, Range(tenant=asked.tenant), codec=codec).questions
    searched = [each for each in questions if each.context is not None]
    async with opened(connection, overrides, searched, "at_watermark", codec) as asker:
        near = [msgspec.structs.replace(each, received=each.received.replace(exact=False)) for each in searched]
        pairs = [await asker.ask(each) for each in near]
    sides = [(pair.then, pair.now) for pair in pairs if pair.then and pair.now]
    assert len(sides) == N_QUESTIONS
    assert not any(now.exact for _, now in sides)
    first = [(then.chunks[0], now.chunks) for then, now in sides]
    assert all(chunk in chunks for chunk, chunks in first)


async def test_a_question_whose_rows_are_gone_is_not_compared(erased: Asked) -> None:
    (pair,) = (await erased.again(limit=1)).pairs
    assert pair.compared
    assert pair.then is not None
    assert pair.then.chunks
    store = LanceVectorStore(erased.system.settings.vectors, dim=256)
    await store.delete(erased.tenant, pair.then.chunks[-1:])
    await store.close()
    modes: tuple[ContextMode, ...] = ("at_watermark", "now")
    for mode in modes:
        after = await erased.again(mode, limit=1)
        assert (after.incomplete, after.verdicts) == ({"rows_gone": 1}, {})


async def test_a_replay_leaves_no_trace_on_the_log_in_groups_or_in_files(asked: Asked) -> None:
    connection = asked.system.connection
    waiting = LiveQuestions(connection)
    await until(lambda: waiting() == 0)  # the workers commit in their own time
    waiting.close()
    before = (log_bounds(connection), committed(connection), files(asked))
    modes: tuple[ContextMode, ...] = ("recorded", "at_watermark", "now")
    for mode in modes:
        assert compared(await asked.again(mode))
    assert (log_bounds(connection), committed(connection), files(asked)) == before


def committed(connection: Connection) -> dict[tuple[str, int], int]:
    """What the groups of the workers and of readers have committed in the topic of questions."""
    found = {}
    for group in (GROUP, READER_GROUP):
        consumer = Consumer({**connection.librdkafka(), "group.id": group})
        for place in consumer.committed([TopicPartition(QUERY_RECEIVED.name, n) for n in range(4)], timeout=10):
            found[group, place.partition] = place.offset
        consumer.close()
    return found


def files(asked: Asked) -> set[str]:
    """Files of the stack's state."""
    return {path.name for path in asked.system.settings.state.iterdir()}
