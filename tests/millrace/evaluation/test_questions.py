"""The format of questions whose answers are known."""

import json
from pathlib import Path

import pytest

from millrace.errors import InputRejected
from millrace.evaluation.questions import KnownQuestion, read_questions, write_questions

HANDBOOK = Path(__file__).parents[3] / "examples" / "handbook" / "questions.jsonl"


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_only_the_question_must_be_there(tmp_path: Path) -> None:
    (question,) = read_questions(written(tmp_path, {"question": "Why?"})).questions
    assert question.id == "line-1"
    assert not question.gold
    assert not question.unanswerable


def test_a_span_without_a_document_is_in_the_only_one() -> None:
    question = KnownQuestion(question="Why?", doc="a.md", spans=((3, 5), ("a.md", 7, 9)))
    assert question.gold == {"a.md": ((3, 5), (7, 9))}


def test_documents_without_spans_are_right_as_a_whole_and_only_where_no_span_is_given() -> None:
    assert KnownQuestion(question="Why?", doc=("a.md", "b.md")).gold == {"a.md": (), "b.md": ()}
    spanned = KnownQuestion(question="Why?", doc=("a.md", "b.md"), spans=(("b.md", 0, 4),))
    assert spanned.gold == {"b.md": ((0, 4),)}


def test_an_empty_list_of_answers_says_that_there_is_none(tmp_path: Path) -> None:
    found = read_questions(written(tmp_path, {"question": "Why?", "answers": []}, {"question": "How?"})).questions
    assert [question.unanswerable for question in found] == [True, False]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"question": "Why?"', "truncated"),
        ("[1]", "Expected `object`"),
        ({"answers": ["x"]}, "missing required field `question`"),
        ({"question": "  "}, "the question is empty"),
        ({"question": "Why?", "doc": 7}, r"\$\.doc"),
        ({"question": "Why?", "answers": [], "doc": "a.md"}, "`answers` is empty"),
        ({"question": "Why?", "answers": [" "]}, "blank"),
        ({"question": "Why?", "spans": [[1, 2]]}, "names no document"),
        ({"question": "Why?", "doc": ["a.md", "b.md"], "spans": [[1, 2]]}, "names no document"),
        ({"question": "Why?", "doc": "a.md", "spans": [["b.md", 1, 2]]}, "not in `doc`"),
        ({"question": "Why?", "doc": "a.md", "spans": [[2, 2]]}, "is empty"),
        ({"question": "Why?", "doc": "a.md", "spans": [[-1, 2]]}, "begins before the text"),
        ('{"question": "Why?", "x": ' + "[" * 20_000, "recursion"),
        ({"question": "Why?", "doc": "a.md", "spans": [[1]]}, r"is not \[start, end\]"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path: Path, row: object, message: str) -> None:
    path = written(tmp_path, {"question": "Right?"}, "", row)
    with pytest.raises(InputRejected, match=rf"(?s)1 wrong lines:\nline 3: .*{message}"):
        read_questions(path)


def test_all_wrong_lines_are_named_up_to_a_bound(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match=r"(?s)12 wrong lines.*line 10.*and 2 more"):
        read_questions(written(tmp_path, *["{}"] * 12))


def test_an_id_stands_once(tmp_path: Path) -> None:
    twice = {"question": "Why?", "id": "a"}
    with pytest.raises(InputRejected, match="line 2: id 'a' is that of line 1 as well"):
        read_questions(written(tmp_path, twice, twice))


def test_fields_that_mean_nothing_are_counted(tmp_path: Path) -> None:
    rows = [{"question": "Why?", "docs": "a.md"}, {"question": "How?", "docs": "a.md", "type": "x"}]
    assert read_questions(written(tmp_path, *rows)).unused == {"docs": 2, "type": 1}


def test_a_file_without_questions_or_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="holds no question"):
        read_questions(written(tmp_path, ""))
    with pytest.raises(InputRejected, match="cannot be read"):
        read_questions(tmp_path / "missing.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "Wof\xfcr?"}')
    with pytest.raises(InputRejected, match="UTF-8"):
        read_questions(tmp_path / "latin.jsonl")


def test_written_questions_are_read_as_they_were(tmp_path: Path) -> None:
    questions = (
        KnownQuestion(id="1", question="Für?\u2028", doc=("a.md", "b.md"), spans=(("b.md", 1, 2),), labels={"x": "y"}),
        KnownQuestion(id="2", question="Why?", answers=()),
    )
    write_questions(tmp_path / "q.jsonl", questions)
    assert read_questions(tmp_path / "q.jsonl").questions == questions


def test_the_handbooks_questions_are_of_this_format() -> None:
    found = read_questions(HANDBOOK)
    assert not found.unused
    assert sum(question.unanswerable for question in found.questions) == 6
    assert all(question.gold for question in found.questions if not question.unanswerable)
