"""For a poor answer the stage that failed is named, and nothing is told that the asker may not see."""

import difflib
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from agents.learn.attribution import attribute_stage
from agents.learn.material import Shelf
from agents.learn.policy import LearnPolicy
from millrace.errors import Unavailable
from millrace.events.learn import QualityScored, StageAttributed
from millrace.events.query import Citation, Hit
from millrace.rows import ChunkRow
from tests.agents.learn.village import EXPECTED, QUESTION, TEXTS, scored, village
from tests.agents_in_memory import publish
from tests.builders import TENANT, changed, granted
from tests.fakes import MemoryObjects, Stack


async def attributed(stack: Stack, event: QualityScored) -> StageAttributed:
    found = await attribute_stage(event, stack.attribution)
    assert isinstance(found, StageAttributed)
    return found


async def chunk_of(stack: Stack, document: str) -> str:
    version = stack.visibility.current(TENANT, document)
    assert version is not None
    return version.chunks[0].id


def without(hits: Sequence[Hit], chunk_id: str) -> tuple[Hit, ...]:
    left = [hit for hit in hits if hit.chunk_id != chunk_id]
    return tuple(msgspec.structs.replace(hit, rank=place) for place, hit in enumerate(left, 1))


async def misquoted(stack: Stack) -> tuple[Citation, ...]:
    elsewhere = await scored(stack, "What does the baker sell on market day?")
    assert elsewhere.citations[0].document == "baker.md"
    return elsewhere.citations[:1]


async def test_a_good_answer_is_not_looked_at() -> None:
    stack = await village()
    event = (await scored(stack)).replace(poor=False)
    assert await attribute_stage(event, stack.attribution) is None


@pytest.mark.parametrize("expected", [EXPECTED, ""], ids=["corrected", "disliked alone"])
async def test_a_row_that_the_store_lost_is_a_fault_of_retrieval(expected: str) -> None:
    stack = await village()
    right = await chunk_of(stack, "wheel.md")
    row = stack.vectors.live[TENANT].pop(right)
    event = await scored(stack, expected=expected)
    assert right not in {hit.chunk_id for hit in event.hits}
    found = await attributed(stack, event)
    assert (found.stage, found.rule, found.document, found.chunk_id) == ("retrieval", "row_missing", "wheel.md", right)
    assert found.evidence["stored"] == "no"
    stack.vectors.live[TENANT][right] = row  # negative control: with its row, something else must have failed
    assert (await attributed(stack, event)).rule == "candidate_missed"


@pytest.mark.parametrize("expected", [EXPECTED, ""], ids=["corrected", "disliked alone"])
async def test_hits_in_another_order_than_that_of_their_ingredients_are_a_fault_of_ranking(expected: str) -> None:
    stack = await village()
    event = await scored(stack, expected=expected)
    scores = sorted((hit.score for hit in event.hits), reverse=True)
    turned = tuple(
        msgspec.structs.replace(hit, rank=place, score=score)
        for place, (hit, score) in enumerate(zip(reversed(event.hits), scores, strict=True), 1)
    )
    event = event.replace(citations=await misquoted(stack))
    found = await attributed(stack, event.replace(hits=turned))
    assert (found.stage, found.rule) == ("ranking", "order_broken")
    assert float(found.evidence["agreement"]) < 0
    cut = await attributed(stack, event.replace(hits=turned[:4]))
    assert (cut.stage, cut.rule) == ("ranking", "order_broken")


async def test_hits_that_stand_before_better_scores_are_a_fault_of_ranking() -> None:
    stack = await village()
    event = await scored(stack, expected=EXPECTED)
    first, second, *rest = event.hits
    swapped = (second, first, *rest)
    ranked = tuple(msgspec.structs.replace(hit, rank=place) for place, hit in enumerate(swapped, 1))
    found = await attributed(stack, event.replace(hits=ranked, citations=await misquoted(stack)))
    assert (found.stage, found.rule) == ("ranking", "order_broken")
    assert float(found.evidence["agreement"]) > LearnPolicy().least_agreement


async def test_one_chunk_that_stands_behind_where_its_ingredients_put_it_is_a_fault_of_ranking() -> None:
    stack = await village()
    event = (await scored(stack, expected=EXPECTED)).replace(citations=await misquoted(stack))
    right = await chunk_of(stack, "wheel.md")
    order = sorted(event.hits, key=lambda hit: hit.chunk_id == right)
    last = tuple(msgspec.structs.replace(hit, rank=place, score=0.5) for place, hit in enumerate(order, 1))
    lenient = msgspec.structs.replace(stack.attribution, policy=LearnPolicy(least_agreement=-1.0))
    found = await attribute_stage(event.replace(hits=last), lenient)
    assert isinstance(found, StageAttributed)
    assert (found.stage, found.rule, found.evidence["place"]) == ("ranking", "placed_behind", "5")


@pytest.mark.parametrize("expected", [EXPECTED, ""], ids=["corrected", "disliked alone"])
async def test_a_right_chunk_in_front_that_was_not_quoted_is_a_fault_of_reading(expected: str) -> None:
    stack = await village()
    event = await scored(stack, expected=expected)
    elsewhere = await attributed(stack, event.replace(citations=await misquoted(stack)))
    assert (elsewhere.stage, elsewhere.rule, elsewhere.document) == ("reading", "quoted_elsewhere", "wheel.md")
    nothing = await attributed(stack, event.replace(citations=(), answer="", status="not_found"))
    assert (nothing.stage, nothing.rule) == ("reading", "quoted_nothing")


async def test_a_question_that_was_worked_on_in_other_words_is_misread() -> None:
    stack = await village()
    event = await scored(stack, "Wehn dseo teh gaert wlheo", asked=QUESTION)
    assert (await attributed(stack, event)).rule == "admitted_otherwise"
    corrected = await attributed(stack, event.replace(expected=EXPECTED))
    assert (corrected.stage, corrected.rule, corrected.document) == ("question", "admitted_otherwise", "wheel.md")


async def test_a_question_whose_rephrasing_works_is_misread() -> None:
    stack = await village()
    event = await scored(stack, "Wehn dseo teh gaert wlheo", rephrased=QUESTION)
    found = await attributed(stack, event)
    assert (found.stage, found.rule) == ("question", "rephrasing_works")
    useless = await attributed(stack, event.replace(rephrased="Waht aobut iths"))
    assert useless.rule != "rephrasing_works"


async def test_a_mistyped_question_that_works_when_it_is_respelled_is_misread() -> None:
    stack = await village()
    event = await scored(stack, "Graet wheell milll trun?")
    assert event.status == "not_found"
    found = await attributed(stack, event)
    assert (found.stage, found.rule, found.document) == ("question", "respelling_works", "wheel.md")
    assert float(found.evidence["unknown_words"]) > 0.5


async def test_words_that_nothing_is_similar_to_are_not_misspelt() -> None:
    stack = await village()
    event = await scored(stack, "Zyxqw kjhgf vbnmpo?")
    unsaid = await attributed(stack, event)
    assert (unsaid.stage, unsaid.rule) == ("corpus", "nothing_near")
    known = await attributed(stack, event.replace(expected=EXPECTED))  # the answer is there, under other words
    assert (known.stage, known.rule) == ("question", "unknown_words")


async def test_what_nothing_visible_holds_is_a_fault_of_the_corpus() -> None:
    stack = await village()
    event = await scored(stack, "Where does the wheel store keep its lanterns?", expected="in the cellar vault")
    assert (await attributed(stack, event)).rule == "correction_nowhere"
    hidden = await village()
    hidden.fold([granted("elders", document="wheel.md", version=2)])
    about = await attributed(hidden, await scored(hidden, expected=EXPECTED))
    assert (about.stage, about.document, about.chunk_id) == ("corpus", "", "")


async def test_an_answer_that_holds_what_was_expected_has_no_stage_that_failed() -> None:
    stack = await village()
    event = await scored(stack, expected=EXPECTED)
    assert (await attributed(stack, event)).rule == "answer_holds_it"
    assert (await attributed(stack, event.replace(expected=""))).rule == "as_designed"


@pytest.mark.parametrize("status", ["failed", "refused", "retracted"])
async def test_what_was_never_read_has_no_stage_that_failed(status: str) -> None:
    stack = await village()
    found = await attributed(stack, (await scored(stack)).replace(status=status, citations=()))
    assert (found.stage, found.rule) == ("unknown", status)


async def test_the_index_is_judged_as_of_the_recorded_watermark() -> None:
    stack = await village()
    event = (await scored(stack, expected=EXPECTED)).replace(citations=await misquoted(stack))
    await publish(stack, changed("Nothing turns any more.", document="wheel.md", version=2, media_type="text/plain"))
    then = await attributed(stack, event)
    assert (then.stage, then.evidence["as_of"], then.evidence["stored"]) == ("reading", "watermark", "unknown")
    assert (then.document, then.chunk_id) == ("", "")  # it is not visible any more
    gone = await attributed(stack, event.replace(watermark="gone"))
    assert (gone.stage, gone.evidence["as_of"]) == ("corpus", "now")


async def test_a_table_that_is_behind_is_waited_for() -> None:
    stack = await village()
    event = (await scored(stack)).replace(watermark="9999")
    with pytest.raises(Unavailable):
        await attribute_stage(event, stack.attribution)


class Down(MemoryObjects):
    async def get(self, ref: str) -> bytes:
        raise Unavailable(f"object store cannot read {ref}")


async def test_a_store_that_is_down_is_waited_for_and_an_erased_object_is_not() -> None:
    stack = await village()
    event = (await scored(stack, expected=EXPECTED)).replace(citations=await misquoted(stack))
    ports = stack.attribution
    with pytest.raises(Unavailable):
        await attribute_stage(event, msgspec.structs.replace(ports, objects=Down()))
    erased = msgspec.structs.replace(ports, objects=MemoryObjects())
    found = await attribute_stage(event, erased)  # the store still has the rows
    assert isinstance(found, StageAttributed)
    assert (found.stage, found.evidence["n_unreadable"]) == ("reading", "0")
    stack.vectors.live[TENANT].clear()
    lost = await attribute_stage(event, msgspec.structs.replace(stack.attribution, objects=MemoryObjects()))
    assert isinstance(lost, StageAttributed)
    assert lost.stage == "corpus"


async def test_a_corpus_that_is_too_large_to_search_is_not_searched() -> None:
    stack = await village(learn_policy=LearnPolicy(max_searched_chunks=4))
    event = await scored(stack, expected=EXPECTED)
    calls = len(stack.embedder.calls)
    found = await attributed(stack, event)
    assert (found.stage, found.rule) == ("unknown", "too_many_chunks")
    assert len(stack.embedder.calls) == calls


async def test_evidence_holds_no_text() -> None:
    stack = await village()
    event = (await scored(stack, expected=EXPECTED)).replace(citations=await misquoted(stack))
    told = " ".join((await attributed(stack, event)).evidence.values())
    assert not {word for text in (*TEXTS.values(), QUESTION) for word in text.split()} & set(told.split())


async def test_the_words_of_all_chunks_are_looked_at_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = await village()
    event = await scored(stack)
    threads: list[threading.Thread] = []
    unknown_share = Shelf.unknown_share

    def watched(shelf: Shelf, question: str) -> float:
        threads.append(threading.current_thread())
        return unknown_share(shelf, question)

    monkeypatch.setattr(Shelf, "unknown_share", watched)
    await attributed(stack, event)
    assert threads[0] is not threading.main_thread(), "taking the words apart takes seconds for thousands of chunks"


def shelf(text: str) -> Shelf:
    vector = np.ones(1, np.float32)
    row = ChunkRow(
        tenant=TENANT, document="d", chunk_id="c", content_hash="h", text=text, vector=vector,
        sentences=((0, len(text)),), sentence_vectors=vector[np.newaxis].astype(np.float16),
    )  # fmt: skip
    return Shelf([(row, text)], 0)


def test_a_question_of_many_unknown_words_is_not_respelled_and_none_is_looked_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for: list[str] = []
    matches = difflib.get_close_matches

    def counted(word: str, *args: Any) -> list[str]:
        looked_for.append(word)
        return matches(word, *args)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    known = shelf(TEXTS["wheel.md"])
    assert known.respelled("whel whel whel turrns") == "wheel wheel wheel turn"
    assert looked_for == ["whel", "turrn"]
    assert not known.respelled(" ".join(f"whe{letter}l" for letter in "bcdfghjkm"))
    assert looked_for == ["whel", "turrn"]
