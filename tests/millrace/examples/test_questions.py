"""Laws about questions for evaluation that are made of examples."""

from __future__ import annotations

from pathlib import Path

from millrace.evaluation.questions import read_questions, write_questions
from millrace.examples.content import ExamplePassage
from millrace.examples.questions import question_of, training_row
from tests.millrace.examples.curated_examples import content, curated


def test_a_grounded_correction_asks_for_its_target_in_its_document() -> None:
    texts = content("How long?", labels={"site": "x"}, groups=("*", "hr"))
    found = question_of(curated(texts), texts)
    assert found is not None
    assert (found.id, found.question, found.tenant) == (curated(texts).example, "How long?", "acme")
    assert (found.answers, found.documents) == (("Sixteen weeks.",), ("a.md",))
    assert (found.labels, found.groups) == ({"site": "x"}, ("hr",))


def test_a_correction_that_no_document_holds_names_none() -> None:
    texts = content("How long?")
    found = question_of(curated(texts, grounded=False), texts)
    assert found is not None
    assert (found.answers, found.documents) == (("Sixteen weeks.",), ())


def test_each_quote_of_an_approved_answer_is_right() -> None:
    passages = tuple(ExamplePassage(document=f"{n}.md", version=1, chunk_id="c", text=f"Quote {n}.") for n in range(2))
    texts = content("How long?", "Quote 0.\nQuote 1.", context=passages)
    found = question_of(curated(texts, source="approved"), texts)
    assert found is not None
    assert (found.answers, found.documents) == (("Quote 0.", "Quote 1."), ("0.md", "1.md"))


def test_a_masked_answer_is_judged_by_its_document_and_left_out_where_none_is_known() -> None:
    texts = content("Whom do I ask?", "Ask [EMAIL_ADDRESS_1].")
    found = question_of(curated(texts), texts)
    assert found is not None
    assert (found.answers, found.documents) == (None, ("a.md",))
    assert question_of(curated(texts, grounded=False), texts) is None


def test_what_is_made_is_what_evaluation_reads(tmp_path: Path) -> None:
    both = [content("How long?"), content("How far?", "Two miles.", labels={"site": "x"})]
    made = [found for texts in both if (found := question_of(curated(texts), texts)) is not None]
    write_questions(tmp_path / "q.jsonl", made)
    read = read_questions(tmp_path / "q.jsonl")
    assert read.unused == {}
    assert list(read.questions) == made


def test_a_row_to_train_on_names_what_it_came_from() -> None:
    texts = content("How long?")
    row = training_row(curated(texts, causes=("a", "b")), texts)
    assert (row["question"], row["target"], row["causes"]) == ("How long?", "Sixteen weeks.", ("a", "b"))
    assert row["context"][0]["text"] == "Sixteen weeks."
    assert "user" not in row
