"""Both paths as the runners run them: through schemas, derived ids and the order of a key."""

from agents.corpus.featurize import featurize
from agents.corpus.index import index
from agents.query import answer_question
from agents.query.policy import QueryPolicy
from millrace.agent import spec_of
from millrace.events.corpus import ChunksEmbedded, DocumentIndexed, DocumentSettled
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerProduced
from millrace.testing import Memory
from tests.builders import TENANT, asked, changed, granted, only
from tests.fakes import Stack

TEXT = "# Keys\n\nRotate the keys every 90 days. Store them in the safe.\n"
CORPUS = [spec_of(featurize), spec_of(index)]


async def test_a_change_is_indexed_and_answered_from_by_the_memory_runner() -> None:
    stack = Stack(query_policy=QueryPolicy(answer_threshold=0.5))
    corpus = Memory(CORPUS, ports=stack.corpus)
    stack.fold([granted("*")])
    outputs = await corpus.feed([changed(TEXT)])
    assert {type(event) for event in outputs} == {ChunksEmbedded, DocumentIndexed}
    indexed = only(outputs, DocumentIndexed)
    assert indexed.meta.causation_id == only(outputs, ChunksEmbedded).meta.id
    stack.fold(outputs)
    query = Memory(answer_question, ports=stack.query)
    replies = await query.feed([asked("Rotate the keys every how many days?")])
    assert only(replies, AnswerProduced).status == "answered"
    end = only(replies, AnswerCompleted)
    assert end.text == "".join(event.text for event in replies if isinstance(event, AnswerDelta))
    assert {"admit", "retrieve", "read"} <= end.timings_ms.keys()
    assert not corpus.dead_letters
    assert not query.dead_letters


async def test_one_bad_document_of_many_is_an_outcome_and_no_dead_letter() -> None:
    stack = Stack()
    corpus = Memory(CORPUS, ports=stack.corpus)
    bad = changed("\x00" * 40, document="bad.md")
    outputs = await corpus.feed([changed("Fine.", document="1.md"), bad, changed("Also fine.", document="2.md")])
    assert {event.document for event in outputs if isinstance(event, DocumentIndexed)} == {"1.md", "2.md"}
    assert only(outputs, DocumentSettled).outcome == "rejected"
    assert not corpus.dead_letters
    assert len(stack.vectors.live[TENANT]) == 2
