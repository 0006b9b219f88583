"""Laws about one question asked again: the same where all is as it was, and otherwise a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from agents.query.policy import QueryPolicy
from infra.replaying.asking import AskerAgain
from infra.replaying.ports import Index, StatisticsLog
from millrace.codec import Codec
from millrace.errors import Unavailable
from millrace.evaluation.replayed import ContextMode, Pair
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentIndexed
from millrace.events.feedback import FeedbackGiven
from millrace.events.query import AnswerProduced, ContextRetrieved
from millrace.reader import RawRecord
from millrace.rows import Candidate
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from streams.recorded.corpus import RecordedCorpus
from streams.recorded.questions import RecordedQuestion
from streams.visibility.table import VisibilityTable
from tests.agents_in_memory import ask, publish
from tests.builders import TENANT, asked, changed, granted, only
from tests.fakes import MemoryVectors, Stack
from tests.visibility_fakes import MemoryVisibility

QUESTION = "What is the mooring fee at pier 3?"
N = 6


class Table(MemoryVisibility):
    """The real table, fed with the records that the log would hold."""

    def __init__(self, table: VisibilityTable) -> None:
        super().__init__()
        self.table = table
        self._codec = Codec()
        self._ends = {DOCUMENT_INDEXED.name: 0, ACL_CHANGED.name: 0}

    def fold(self, event: Event) -> None:
        super().fold(event)
        topic = {DocumentIndexed: DOCUMENT_INDEXED, AclChanged: ACL_CHANGED}.get(type(event))
        if topic is not None:
            record = self._codec.record(topic, event)
            offset = self._ends[topic.name]
            self._ends[topic.name] += 1
            self.table.fold([RawRecord(topic.name, 0, offset, offset, record.key, record.value, list(record.headers))])

    def visible(
        self, tenant: str, principal: Any, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Any:
        return self.table.visible(tenant, principal, at=at, labels=labels)


class Rows(MemoryVectors):
    """Rows whose archive can be searched."""

    async def candidates(
        self,
        tenant: str,
        *,
        vector: npt.NDArray[np.float32],
        text: str,
        k: int,
        documents: Collection[str] | None = None,
        archived: bool = False,
    ) -> list[Candidate]:
        found = await super().candidates(tenant, vector=vector, text=text, k=k, documents=documents)
        more = (
            [Candidate(chunk_id=row.chunk_id, document=row.document) for row in self.archived[tenant].values()]
            if archived
            else []
        )
        return [*found, *more]


class World:
    """A stack in memory, what it recorded, and ways to ask it again."""

    def __init__(self, folder: Path) -> None:
        self.table = VisibilityTable.open(folder / "visibility.db", Codec(), "epoch")
        self.stack = Stack(vectors=Rows(), visibility=Table(self.table))
        self.statistics = StatisticsLog([], self.stack.objects.get)

    async def put(self, n: int, fee: int, version: int = 1) -> None:
        """Index a document about a pier."""
        text = f"The mooring fee at pier {n} is {fee} crowns a night, to be paid at the office of the harbour."
        await publish(self.stack, changed(text, document=f"{n}.md", version=version, offset=version * N + n))

    async def ask(self, question: str = QUESTION, **fields: Any) -> RecordedQuestion:
        """Ask, and keep what a log would hold of it."""
        received = asked(question, **{"exact": True, "top_k": 3} | fields)
        events = await ask(self.stack, received)
        contexts = [event for event in events if isinstance(event, ContextRetrieved)]
        return RecordedQuestion(
            received=received, asked_at_ms=1, context=contexts[0] if contexts else None, retrieved_at_ms=1,
            answer=only(events, AnswerProduced),
        )  # fmt: skip

    async def again(
        self,
        question: RecordedQuestion,
        mode: ContextMode = "at_watermark",
        *,
        gaps: Mapping[tuple[str, int], int] | None = None,
        archived: bool = True,
        **policy: Any,
    ) -> Pair:
        """Ask again."""
        corpus = RecordedCorpus(self.table, gaps or {})
        vectors: Any = self.stack.vectors
        ports = msgspec.structs.replace(self.stack.query, policy=QueryPolicy(**policy))
        ports = msgspec.structs.replace(ports, answers=Stack().answers)
        return await AskerAgain(ports, corpus, Index(vectors, archived=archived), self.statistics, mode).ask(question)


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    """A corpus of piers."""
    made = World(tmp_path)
    for n in range(N):
        await made.put(n, 100 + n)
    yield made
    made.table.close()


async def test_it_finds_and_says_the_same_whatever_has_changed_since(world: World) -> None:
    question = await world.ask()
    await world.put(3, 999, version=2)
    await publish(world.stack, changed(None, document="2.md", version=2, offset=99))
    pair = await world.again(question)
    assert (pair.verdict, pair.incomplete, pair.changes) == ("identical", "", {})
    assert pair.then is not None
    assert pair.now is not None
    assert pair.now.text == pair.then.text != ""
    assert "103 crowns" in pair.now.text
    assert pair.now.ms.keys() >= {"retrieve", "read"}


async def test_as_of_now_what_differs_has_its_reason(world: World) -> None:
    question = await world.ask()
    assert question.context is not None
    second = question.context.hits[1].document
    await world.put(3, 999, version=2)
    await publish(world.stack, changed(None, document=second, version=2, offset=99))
    pair = await world.again(question, "now")
    assert pair.verdict == "changed"
    assert pair.changes == {"-superseded": 1, "-deleted": 1, "+new": 1, "+rank": 1}
    assert pair.now is not None
    assert "999 crowns" in pair.now.text


async def test_whoever_lost_a_right_since_has_it_at_the_watermark_and_not_now(world: World) -> None:
    question = await world.ask()
    for n in range(N):
        world.stack.fold([granted("board", document=f"{n}.md", version=2)])
    assert (await world.again(question)).verdict == "identical"
    pair = await world.again(question, "now")
    assert pair.changes == {"-forbidden": 3}
    assert pair.now is not None
    assert (pair.now.status, pair.now.chunks) == ("not_found", ())


async def test_a_recorded_context_is_read_as_it_was_and_is_not_searched_for(world: World) -> None:
    question = await world.ask()
    await world.put(3, 999, version=2)
    world.stack.embedder.calls.clear()
    pair = await world.again(question, "recorded")
    assert pair.verdict == "identical"
    assert world.stack.embedder.calls == []
    silent = await world.again(question, "recorded", answer_threshold=9.0)
    assert silent.then is not None
    assert silent.now is not None
    assert (silent.now.status, silent.now.chunks) == ("not_found", silent.then.chunks)


async def test_a_search_by_neighbours_needs_the_archive(world: World) -> None:
    """Also the control: a store whose archive is left out does not find what was superseded."""
    question = await world.ask()
    assert question.context is not None
    await world.put(3, 999, version=2)
    rows = world.stack.vectors
    await rows.archive(TENANT, [question.context.hits[0].chunk_id])
    near = msgspec.structs.replace(question, received=question.received.replace(exact=False))
    open_search: dict[str, Any] = {"exact_below_chunks": 0, "restrict_below_documents": 0}
    found = await world.again(near, **open_search)
    assert found.now is not None
    assert (found.now.exact, found.now.chunks[0]) == (False, question.context.hits[0].chunk_id)
    missed = await world.again(near, archived=False, **open_search)
    assert missed.now is not None
    assert question.context.hits[0].chunk_id not in missed.now.chunks


async def gone_rows(world: World, question: RecordedQuestion) -> None:
    assert question.context is not None
    await world.stack.vectors.delete(TENANT, [question.context.hits[-1].chunk_id])


@pytest.mark.parametrize(
    ("mode", "policy"),
    [("at_watermark", {}), ("at_watermark", {"exact_below_chunks": 0}), ("now", {}), ("recorded", {})],
)
async def test_what_is_gone_makes_no_comparison(world: World, mode: ContextMode, policy: dict[str, Any]) -> None:
    question = await world.ask()
    if policy:
        question.received = question.received.replace(exact=False)
    await gone_rows(world, question)
    pair = await world.again(question, mode, **policy)
    assert (pair.incomplete, pair.now, pair.compared) == ("rows_gone", None, False)


async def test_a_watermark_of_another_life_or_among_what_was_compacted_makes_no_comparison(world: World) -> None:
    question = await world.ask()
    pair = await world.again(question, gaps={(DOCUMENT_INDEXED.name, 0): 1_000})
    assert pair.incomplete == "log_truncated"
    assert question.context is not None
    question.context = question.context.replace(watermark=f"{'0' * 8}/i:0=3")
    assert (await world.again(question)).incomplete == "log_truncated"
    assert (await world.again(question, "recorded")).incomplete == ""  # its chunks and versions are still there


async def test_a_question_that_was_refused_is_refused_again_or_has_no_context(world: World) -> None:
    refused = await world.ask(" ")
    assert refused.context is None
    assert (await world.again(refused)).verdict == "identical"
    refused.received = refused.received.replace(question=QUESTION)  # as if a rule had let it in now
    for mode in ("at_watermark", "recorded"):
        assert (await world.again(refused, mode)).incomplete == "no_context"
    now = (await world.again(refused, "now")).now
    assert now is not None
    assert now.status == "answered"


async def test_a_question_without_an_end_has_nothing_to_compare_with(world: World) -> None:
    question = await world.ask()
    answer = question.answer
    question.answer = None
    assert (await world.again(question)).incomplete == "no_answer"
    assert answer is not None
    question.answer = answer.replace(status="failed", error_type="cancelled")
    assert (await world.again(question)).incomplete == "cancelled"


async def test_vectors_of_two_models_are_not_compared(world: World) -> None:
    question = await world.ask()
    world.stack.embedder.model = "another@2"  # the same vectors under another name
    assert (await world.again(question)).incomplete == "embedding_model"
    assert (await world.again(question, "recorded")).incomplete == ""


async def test_an_agent_that_fails_now_ends_as_a_worker_would_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = await world.ask()
    failures: Iterator[Exception] = iter([ValueError("broken"), Unavailable("down")])

    async def fetch(*_: object) -> Sequence[Any]:
        raise next(failures)

    monkeypatch.setattr(world.stack.vectors, "fetch", fetch)
    pair = await world.again(question)
    assert pair.now is not None
    assert (pair.now.status, pair.verdict) == ("failed", "worse")
    with pytest.raises(Unavailable):  # a comparison with holes would mislead
        await world.again(question)


async def test_what_people_said_of_the_answer_decides_what_is_better(world: World) -> None:
    question = await world.ask()
    said: dict[str, Any] = {"tenant": TENANT, "conversation": "c1", "correlation": question.correlation}
    question.feedback = [
        FeedbackGiven(**said, kind="down"),
        FeedbackGiven(**said, kind="correction", text="999 crowns a night"),
    ]
    await world.put(3, 999, version=2)
    pair = await world.again(question, "now")
    assert (pair.verdict, pair.feedback, pair.correction) == ("better", -1.0, "999 crowns a night")
