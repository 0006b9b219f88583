"""Near-duplicates are noted within a result and a trust tier, and are not quoted twice."""

import numpy as np

from agents.query.duplicates import near_duplicates
from agents.query.policy import QueryPolicy
from inference.hashing import HashingEmbedder
from millrace.events.query import AnswerProduced
from millrace.rows import ChunkRow
from tests.agents_in_memory import ask, publish
from tests.builders import asked, changed, only
from tests.fakes import Stack

TEXT = (
    "Keys are rotated every ninety days by the operator on duty. The old ones are destroyed on the same day, and the "
    "log of the safe says who was there. A key that was lost is reported at once."
)


async def rows(*texts: str) -> list[ChunkRow]:
    vectors = await HashingEmbedder(64).embed(texts)
    return [
        ChunkRow(
            tenant="t",
            document="d",
            chunk_id=str(i),
            content_hash="",
            text=text,
            vector=vector,
            sentences=(),
            sentence_vectors=np.zeros((0, 64), np.float16),
        )
        for i, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]


async def test_a_copy_with_a_word_changed_is_noted_and_a_reordered_text_is_not() -> None:
    backwards = " ".join(reversed(TEXT.split()))
    found = await rows(TEXT, TEXT.replace("ninety", "sixty"), backwards, "Something else.", TEXT)
    assert near_duplicates(found, ["trusted"] * 5) == ["", "0", "", "", "0"]
    assert near_duplicates(found[:1], ["trusted"]) == [""]
    assert near_duplicates([], []) == []


async def test_texts_that_hold_other_numbers_are_no_copies_of_each_other() -> None:
    tagged = [f"{TEXT} The safe has the number {number}." for number in (69, 74, 69)]
    assert near_duplicates(await rows(*tagged), ["trusted"] * 3) == ["", "", "0"]


async def test_chunks_of_different_trust_are_never_duplicates_of_each_other() -> None:
    found = await rows(TEXT, TEXT, TEXT)
    assert near_duplicates(found, ["untrusted", "trusted", "trusted"]) == ["", "", "1"]


async def test_an_answer_quotes_a_text_once_however_many_copies_there_are() -> None:
    stack = Stack(query_policy=QueryPolicy(answer_threshold=0.1))
    for name in ("a", "b", "c"):
        await publish(stack, changed(TEXT, document=name))
    record = only(await ask(stack, asked("Keys are rotated every how many days?")), AnswerProduced)
    assert [hit.duplicate_of for hit in record.hits] == ["", record.hits[0].chunk_id, record.hits[0].chunk_id]
    assert len({citation.quote for citation in record.citations}) == len(record.citations) >= 1


async def test_another_tenant_s_copy_is_no_duplicate() -> None:
    stack = Stack(query_policy=QueryPolicy(answer_threshold=0.1))
    await publish(stack, changed(TEXT, document="theirs", tenant="other"))
    await publish(stack, changed(TEXT))
    record = only(await ask(stack, asked("Keys are rotated every how many days?")), AnswerProduced)
    assert [hit.duplicate_of for hit in record.hits] == [""]
