"""The report is one file that shows what was found and runs nothing."""

import re
from pathlib import Path

import msgspec
import pytest

from millrace.errors import ConfigurationError
from millrace.evaluation.judging import FoundQuote, Judgement
from millrace.evaluation.measures import requirement
from millrace.evaluation.report import fault, write_html
from millrace.evaluation.run import evaluate
from millrace.reports import page as report_page
from tests.html_tags import Tags
from tests.millrace.evaluation.evaluations import judgement, run_of, unanswerable

HOSTILE = "<script>alert(1)</script><img src=x>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    quote = FoundQuote(document="a.md", text=HOSTILE, right=False)
    run = run_of(
        judgement("right", True, quotes=(True,)),
        judgement("wrong", False, question=HOSTILE, quotes=()),
        msgspec.structs.replace(judgement("late", False, True), quotes=(quote,)),
        unanswerable("made up", refused=False, signal=0.9),
        judgement("failed", status="failed", error="deadline_exceeded: no answer", signal=None),
    )
    results = evaluate(run, run_of(judgement("right", False), judgement("wrong", False)), [requirement("r@1=0.9")])
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_html(results, path)
    return path.read_text()


def test_it_needs_nothing_else_and_runs_nothing(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags.found}
    sources = [attributes["src"] or "" for tag, attributes in tags.found if tag == "img"]
    assert len(sources) == 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)


def test_texts_of_documents_are_shown_as_text(page: str) -> None:
    assert "&lt;script&gt;alert(1)" in page


def test_it_lists_the_worst_questions_with_what_was_wrong(page: str) -> None:
    ids = re.findall(r'<span class="quiet">\(([^)]+)\)</span>:', page)
    assert ids == ["failed", "made up", "wrong", "late"]
    for text in ("deadline_exceeded", "answered, although nothing answers it", "right chunk not found", "at place 2"):
        assert text in page


def test_it_says_what_was_required_and_what_changed(page: str) -> None:
    assert "recall@1 &gt;= 0.9: found 0.25" in page
    assert "no clear difference" in page


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        (judgement("a", True, quotes=(True,)), ""),
        (judgement("a", False, True, quotes=(False, True)), "right chunk at place 2, right sentence at place 2"),
        (judgement("a", True, quotes=(False,)), "right sentence not quoted"),
        (judgement("a", False), "right chunk not found, right sentence not quoted"),
        (judgement("a", True, status="not_found"), "refused, although something answers it"),
        (judgement("a", expected=()), ""),
        (unanswerable("a", refused=True, signal=0.1), ""),
    ],
)
def test_a_fault_is_named_in_a_few_words(judged: Judgement, expected: str) -> None:
    assert fault(judged) == expected


def test_a_missing_library_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report_page, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"matplotlib and Jinja2.*millrace\[eval\]"):
        write_html(evaluate(run_of(judgement("a", True))), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
