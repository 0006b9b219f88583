"""Data sets become documents and questions whose spans are right."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.datasets import FILES, DataSet, load, main, without
from millrace.errors import InputRejected
from millrace.evaluation.questions import read_questions

DATA = Path(__file__).parents[3] / "shared" / "data"


def qa(id_: str, question: str, context: str, *answers: str) -> dict[str, Any]:
    found = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    return {"id": id_, "question": question, "answers": found}


def paragraph(context: str, *asked: tuple[str, str, str]) -> dict[str, Any]:
    return {"context": context, "qas": [qa(id_, question, context, answer) for id_, question, answer in asked]}


ARTICLES = [
    {
        "title": "Locks & weirs",
        "paragraphs": [
            paragraph(" The lock opens at six.", ("1", "When does it open?", "six")),
            paragraph("Its keeper: Ö. Berg.", ("2", "Who keeps it?", "Ö. Berg"), ("3", "When does it open?", "Its")),
            paragraph("It is red.", ("4", "When does it open?", "red")),
        ],
    },
    {"title": "../up", "paragraphs": [paragraph("It was built in 1890.", ("5", "When does it open?", "1890"))]},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for path in FILES.values():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps({"data": ARTICLES}))
    return tmp_path


def spans_hold_answers(found: DataSet) -> bool:
    texts = {document.id: document.text for document in found.documents}
    return all(
        texts[document][start:end] in (question.answers or ())
        for question in found.questions
        for document, spans in question.gold.items()
        for start, end in spans
    )


def test_an_article_is_a_document_and_spans_count_its_characters(data: Path) -> None:
    found = load("xquad", data)
    assert [document.id for document in found.documents] == ["Locks_weirs.txt", "up.txt"]
    assert found.documents[0].text == " The lock opens at six.\n\nIts keeper: Ö. Berg.\n\nIt is red."
    assert [question.id for question in found.questions] == ["1", "2", "3", "4", "5"]
    assert found.questions[1].spans == (("Locks_weirs.txt", 37, 44),)
    assert spans_hold_answers(found)


def test_a_policys_paragraphs_are_documents_and_all_with_the_same_question_are_right(data: Path) -> None:
    found = load("policyqa", data)
    assert [document.id for document in found.documents] == [
        "Locks_weirs/000.txt", "Locks_weirs/001.txt", "Locks_weirs/002.txt", "up/000.txt",
    ]  # fmt: skip
    assert found.documents[0].labels == {"policy": "Locks_weirs"}
    opens, keeps, other = found.questions
    assert opens.documents == ("Locks_weirs/000.txt", "Locks_weirs/001.txt", "Locks_weirs/002.txt")
    assert opens.answers == ("six", "Its", "red")
    assert opens.labels == {"policy": "Locks_weirs"}
    assert (keeps.documents, other.documents) == (("Locks_weirs/001.txt",), ("up/000.txt",))
    assert spans_hold_answers(found)


def test_a_question_has_no_answer_once_all_of_its_documents_are_left_out(data: Path) -> None:
    found = without(load("policyqa", data), ["Locks_weirs/001.txt"])
    opens, keeps, other = found.questions
    assert opens.documents == ("Locks_weirs/000.txt", "Locks_weirs/002.txt")
    assert spans_hold_answers(found)
    assert [question.unanswerable for question in (opens, keeps, other)] == [False, True, False]
    assert not keeps.gold


def test_what_is_written_can_be_read(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["policyqa", str(out), "--data", str(data), "--leave-out", "0.5", "--seed", "1"]
    assert main(command) == 0
    rows = [json.loads(line) for line in (out / "documents.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all((out / "documents" / row["doc"]).is_file() for row in rows)
    assert len(read_questions(out / "questions.jsonl").questions) == 3
    assert main(command) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_folder_without_the_data_set_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputRejected, match=r"dev\.json cannot be read"):
        load("policyqa", tmp_path / "missing")
    (data / FILES["xquad"]).write_text('{"data": [{"title": "x"}]}')
    with pytest.raises(InputRejected, match="not in SQuAD's format"):
        load("xquad", data)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "n_documents", "n_questions"), [("xquad", 24, 612), ("policyqa", 574, 2420)])
def test_every_span_of_the_real_data_sets_holds_its_answer(name: str, n_documents: int, n_questions: int) -> None:
    if not (DATA / FILES[name]).is_file():
        pytest.skip(f"data set {name} is not at hand")
    found = load(name, DATA)
    assert (len(found.documents), len(found.questions)) == (n_documents, n_questions)
    assert spans_hold_answers(found)
