import math
import random

import msgspec
import numpy as np
import pytest

from agents.query import answer_question
from agents.query.answer import fail_question
from agents.query.policy import QueryPolicy
from agents.query.read import answerable, best_sentences, quotes
from millrace.agent import CATALOGUE
from millrace.event import E
from millrace.events.query import (
    AnswerCompleted,
    AnswerDelta,
    AnswerFailed,
    AnswerProduced,
    AnswerRetracted,
    CompletionGenerated,
    CompletionGuarded,
    ContextRetrieved,
    Hit,
    QueryAdmitted,
)
from millrace.rows import ChunkRow
from tests.agents_in_memory import ask, publish, stage
from tests.builders import TENANT, asked, changed, granted, only, with_meta
from tests.fakes import Stack
from tests.texts import document

KEYS = (
    "# Guide\n\n## Falcons\n\nThe falcon flies at 300 km/h. It eats mice.\n\n## Keys\n\nAsk Dr. Smith. Rotate the keys "
)
KEYS += "every 90 days. Store them in the safe.\n"
QUESTION = "Rotate the keys every how many days?"
EAGER = QueryPolicy(answer_threshold=0.5)


async def stack_with(text: str = KEYS, *, quote_margin: float = 0.15) -> Stack:
    stack = Stack(query_policy=QueryPolicy(answer_threshold=0.5, quote_margin=quote_margin))
    await publish(stack, changed(text))
    return stack


def test_the_run_stands_in_the_catalogue_in_place_of_its_stages() -> None:
    assert CATALOGUE["answer_question"] is answer_question
    assert [stage.name for stage in answer_question.stages] == ["admit", "retrieve", "read", "guard_answer", "answer"]
    assert not {"admit", "retrieve", "read", "guard_answer", "answer"} & CATALOGUE.keys()
    assert answer_question.park is not None
    assert answer_question.on_failure is fail_question


async def test_a_question_leaves_every_stage_on_the_log_and_ends_in_one_record_and_one_frame() -> None:
    log = await ask(await stack_with(), asked(QUESTION))
    kinds = [type(event) for event in log if not isinstance(event, AnswerDelta)]
    assert kinds == [
        QueryAdmitted,
        ContextRetrieved,
        CompletionGenerated,
        CompletionGuarded,
        AnswerProduced,
        AnswerCompleted,
    ]


async def test_quotes_are_exact_slices_of_the_parsed_text() -> None:
    stack = await stack_with()
    frame = only(await ask(stack, asked(QUESTION)), AnswerCompleted)
    assert frame.found
    assert "Rotate the keys every 90 days." in frame.text
    for citation in frame.citations:
        version = stack.visibility.current(TENANT, citation.document)
        assert version is not None
        assert version.text is not None
        parsed = (await stack.objects.get(version.text)).decode()
        assert parsed[citation.start : citation.end] == citation.quote
        assert (citation.title, citation.version) == ("Guide", 1)
    assert frame.citations[0].heading == "Guide > Keys"


async def test_the_frames_are_numbered_and_add_up_to_the_answer() -> None:
    text = "# Guide\n\n## Keys\n\nRotate the keys of the safe every few days, and tell the team the day before.\n"
    text += "\n## Safes\n\nRotate the keys to the safe every year.\n"
    log = await ask(await stack_with(text, quote_margin=1.0), asked(QUESTION, attempt=2))
    deltas = [event for event in log if isinstance(event, AnswerDelta)]
    end = only(log, AnswerCompleted)
    assert len(deltas) >= 2
    assert [delta.n for delta in deltas] == list(range(len(deltas)))
    assert end.n == len(deltas)
    assert "".join(delta.text for delta in deltas) == end.text
    assert {delta.attempt for delta in deltas} == {end.attempt} == {2}


async def test_a_question_without_reply_address_sends_no_frame() -> None:
    log = await ask(await stack_with(), asked(QUESTION, reply_to=""))
    assert isinstance(log[-1], AnswerProduced)
    assert log[-1].status == "answered"
    assert not any(isinstance(event, AnswerDelta | AnswerCompleted) for event in log)


async def test_what_the_corpus_does_not_hold_is_said_honestly() -> None:
    stack = await stack_with()
    log = await ask(stack, asked("Who painted the ceiling?"))
    record, frame = only(log, AnswerProduced), only(log, AnswerCompleted)
    assert isinstance(record, AnswerProduced)
    assert (record.status, frame.found, frame.text, frame.citations) == ("not_found", False, "", ())


async def test_a_search_returns_hits_and_reads_nothing() -> None:
    log = await ask(await stack_with(), asked(QUESTION, mode="search"))
    frame = only(log, AnswerCompleted)
    assert [hit.rank for hit in frame.hits] == [1, 2]
    assert (frame.text, frame.citations) == ("", ())


@pytest.mark.parametrize("mode", ["answer", "search"])
async def test_the_record_of_the_end_says_whether_it_was_a_search(mode: str) -> None:
    stack = await stack_with()
    log = await ask(stack, asked(QUESTION, mode=mode))
    assert only(log, AnswerProduced).mode == mode
    stack.visibility.is_confirmed = False
    assert only(await stage(stack, only(log, CompletionGuarded)), AnswerProduced).mode == mode
    assert fail_question(asked(QUESTION, mode=mode), "exception", "it broke")[0].mode == mode  # type: ignore[attr-defined]


async def test_hits_and_drops_are_in_the_reply_only_for_a_search_or_an_explanation() -> None:
    stack = await stack_with()
    plain = only(await ask(stack, asked(QUESTION, top_k=1)), AnswerCompleted)
    explained = only(await ask(stack, asked(f"{QUESTION} ", top_k=1, explain=True)), AnswerCompleted)
    assert (plain.hits, plain.dropped) == ((), ())
    assert (len(explained.hits), [drop.reason for drop in explained.dropped]) == (1, ["rank"])


async def test_an_explanation_does_not_count_what_is_forbidden() -> None:
    stack = Stack(query_policy=QueryPolicy(exact_below_chunks=0, restrict_below_documents=0))
    await publish(stack, changed(KEYS))
    await publish(stack, changed("Rotate the secret keys every 3 days.", document="b.md"), "hr")
    log = await ask(stack, asked(QUESTION, explain=True))
    assert "forbidden" in [drop.reason for drop in only(log, ContextRetrieved).dropped]
    for told in (only(log, CompletionGenerated), only(log, AnswerProduced), only(log, AnswerCompleted)):
        assert {drop.reason for drop in told.dropped} <= {"rank", "superseded", "deleted", "filtered"}


async def test_a_table_that_lost_touch_with_the_log_on_the_way_gives_no_answer_and_no_text() -> None:
    stack = await stack_with()
    log = await ask(stack, asked(QUESTION))
    read, completion = only(log, CompletionGenerated), only(log, CompletionGuarded)
    stack.visibility.is_confirmed = False
    ended = await stage(stack, completion)
    record, frame = only(ended, AnswerProduced), only(ended, AnswerFailed)
    assert (record.status, record.error_type, frame.error_type) == ("failed", "not_ready", "not_ready")
    assert (record.text, record.citations, record.hits) == (frame.message, (), ())
    assert (frame.n, frame.retry_after_ms > 0) == (completion.n_frames, True)
    assert not any(isinstance(event, AnswerDelta) for event in await stage(stack, read))


async def reached(stack: Stack, kind: type[E]) -> E:
    return only(await ask(stack, asked(QUESTION, explain=True)), kind)


async def test_an_answer_is_retracted_when_a_quoted_passage_is_lost_on_the_way() -> None:
    for change in ("revoked", "deleted"):
        stack = await stack_with()
        completion = await reached(stack, CompletionGuarded)
        if change == "revoked":
            stack.fold([granted(version=2)])
        else:
            stack.visibility.history.clear()
        ended = await stage(stack, completion)
        record = only(ended, AnswerProduced)
        assert (record.status, record.text, record.citations, record.hits) == ("retracted", "", (), ())
        frame = only(ended, AnswerRetracted)
        assert record.retry_after_ms == frame.retry_after_ms > 0  # another answer may be visible
        assert "Rotate" not in repr([record, frame])


async def test_a_hit_that_is_lost_on_the_way_is_left_out_of_a_search() -> None:
    stack = await stack_with()
    await publish(stack, changed("Rotate the tyres every 90 days.", document="b.md"))
    search = asked(QUESTION, mode="search")
    completion = only(await ask(stack, search), CompletionGuarded)
    stack.fold([granted(document="b.md", version=2)])
    ended = await stage(stack, completion)
    for found in (only(ended, AnswerProduced), only(ended, AnswerCompleted)):
        assert {hit.document for hit in found.hits} == {"a.md"}


async def test_a_passage_that_is_superseded_before_it_is_read_is_not_quoted() -> None:
    stack = await stack_with()
    context = await reached(stack, ContextRetrieved)
    await publish(stack, changed("# Guide\n\nNothing here.\n", version=2), "*")
    completion = only(await stage(stack, context), CompletionGenerated)
    assert (completion.found, completion.citations) == (False, ())


async def test_a_chunk_that_moved_is_quoted_where_it_stands_now() -> None:
    stack = await stack_with()
    context = await reached(stack, ContextRetrieved)
    moved = KEYS.replace("# Guide\n\n", "# Guide\n\nA long new introduction comes first.\n\n")
    await publish(stack, changed(moved, version=2))
    completion = only(await stage(stack, context), CompletionGenerated)
    citation = completion.citations[0]
    assert citation.version == 2
    assert moved[citation.start : citation.end] == citation.quote


async def test_timings_and_watermark_reach_record_and_frame() -> None:
    stack = await stack_with()
    completion = await reached(stack, CompletionGuarded)
    timed = with_meta(completion, cause=asked(QUESTION), timings_ms={"retrieve": 3.5})
    ended = await stage(stack, timed)
    for found in (only(ended, AnswerProduced), only(ended, AnswerCompleted)):
        assert (found.timings_ms, found.watermark) == ({"retrieve": 3.5}, completion.watermark)


def test_a_failed_question_has_a_record_and_a_frame() -> None:
    record, frame = fail_question(asked(QUESTION, attempt=1), "exception", "it broke")
    assert isinstance(record, AnswerProduced)
    assert isinstance(frame, AnswerFailed)
    assert (record.status, frame.error_type, frame.message, frame.attempt) == ("failed", "exception", "it broke", 1)


def test_the_signal_grows_with_cosine_and_words_and_is_0_without_hits() -> None:
    hit = Hit("c", "d", 1, 1, 1.0, 0.5, 8.0)
    assert answerable("two words", [hit], 100) == pytest.approx(0.5 + 8.0 / (2 * math.log(1 + 99.5 / 1.5)))
    assert answerable("two words", [], 100) == 0.0


def test_a_sentence_counts_by_itself_and_by_the_signal_of_its_chunk_not_by_its_rank() -> None:
    hits = (Hit("a", "d", 1, 1, 1.0, 0.2, 0.0), Hit("b", "d", 1, 2, 0.1, 0.6, 0.0))
    context = ContextRetrieved(
        tenant="t", conversation="c", question="q", hits=hits, n_chunks=2, vector=np.array([1, 0], "<f4").tobytes()
    )
    found = quotes(context, {"a": row("a", [0.8]), "b": row("b", [0.7])}, QueryPolicy(sentence_weight=0.6))
    assert [quote.row.chunk_id for quote in found] == ["b", "a"]
    assert [quote.score for quote in found] == pytest.approx([0.6 * 0.7 + 0.4 * 0.6, 0.6 * 0.8 + 0.4 * 0.2], abs=1e-3)


def test_among_like_sentences_the_one_with_the_question_s_words_comes_first() -> None:
    text = "It may take long. The gate opens at six."
    long = msgspec.structs.replace(row("a", [0.6, 0.5]), text=text, sentences=((0, 17), (18, 40)))
    context = ContextRetrieved(
        tenant="t",
        conversation="c",
        question="When does the gate open?",
        hits=(Hit("a", "d", 1, 1, 1.0, 0.5, 0.0),),
        n_chunks=2,
        vector=np.array([1, 0], "<f4").tobytes(),
    )
    assert [quote.first for quote in best_sentences(context, {"a": long}, QueryPolicy(quote_margin=9.0))] == [1, 0]


async def test_a_question_restricted_by_labels_has_a_threshold_of_its_own() -> None:
    stack = Stack(query_policy=QueryPolicy(answer_threshold=9.0, restricted_threshold=0.5))
    await publish(stack, changed(KEYS, labels={"team": "x"}))
    assert only(await ask(stack, asked(QUESTION)), AnswerProduced).status == "not_found"
    restricted = asked(f"{QUESTION}?", labels={"team": "x"})
    assert only(await ask(stack, restricted), AnswerProduced).status == "answered"


def row(chunk_id: str, cosines: list[float]) -> ChunkRow:
    vectors = np.array([[cosine, np.sqrt(1 - cosine**2)] for cosine in cosines], dtype=np.float16)
    return ChunkRow(
        tenant="t",
        document="d",
        chunk_id=chunk_id,
        content_hash="",
        text="x" * len(cosines),
        vector=np.array([1, 0], np.float32),
        sentences=tuple((i, i + 1) for i in range(len(cosines))),
        sentence_vectors=vectors,
    )


def test_the_best_sentences_are_quoted_and_neighbours_are_one_quote() -> None:
    hits = (Hit("a", "d", 1, 1, 1.0, 0.8, 0), Hit("b", "d", 1, 2, 0.5, 0.5, 0))
    context = ContextRetrieved(
        tenant="t", conversation="c", question="q", hits=hits, n_chunks=2, vector=np.array([1, 0], "<f4").tobytes()
    )
    rows = {"a": row("a", [0.1, 0.8, 0.9]), "b": row("b", [0.95, 0.2])}
    found = quotes(context, rows, QueryPolicy(quote_margin=0.2))
    assert [(quote.row.chunk_id, quote.first, quote.last) for quote in found] == [("a", 1, 2), ("b", 0, 0)]
    assert found[0].score == pytest.approx(0.7 * 0.9 + 0.3 * 0.8, abs=1e-3)
    alone = quotes(context, rows, QueryPolicy(quote_margin=0.01))
    assert [(quote.row.chunk_id, quote.first, quote.last) for quote in alone] == [("a", 2, 2)]
    assert quotes(context, {}, QueryPolicy()) == []


async def test_a_revoked_asker_finds_nothing_at_once_and_without_touching_the_index() -> None:
    stack = Stack(query_policy=EAGER)
    await publish(stack, changed(KEYS), "team")
    assert only(await ask(stack, asked(QUESTION, groups=("team",))), AnswerProduced).status == "answered"
    n_calls, n_upserts = len(stack.embedder.calls), stack.vectors.upserts
    stack.fold([granted("others", version=2)])
    record = only(await ask(stack, asked(f"{QUESTION}?", groups=("team",))), AnswerProduced)
    assert (record.status, record.hits) == ("not_found", ())
    assert (len(stack.embedder.calls) - n_calls, stack.vectors.upserts) == (1, n_upserts)  # the question alone


async def test_tenants_do_not_see_each_other() -> None:
    stack = Stack(query_policy=EAGER)
    await publish(stack, changed(KEYS, tenant="other"))
    record = only(await ask(stack, asked(QUESTION)), AnswerProduced)
    assert record.hits == ()


async def test_the_same_question_gives_the_same_events() -> None:
    stack = Stack(query_policy=EAGER)
    await publish(stack, changed("\n\n".join([KEYS, *document(random.Random(3), 12, "mixed")])))
    log = await ask(stack, asked(QUESTION))
    for event in log:
        assert await stage(stack, event) == await stage(stack, event)
