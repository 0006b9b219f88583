"""The report is one file that shows what was found and runs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.analytics.report import check_installed, write_html
from millrace.errors import ConfigurationError
from millrace.reports import page as report_page
from tests.html_tags import Tags
from tests.millrace.analytics.test_analysis import analysed, report_of
from tests.millrace.analytics.traffic import about

HOSTILE = "Where is <script>alert(1)</script> my badge?"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    hostile = about("badge", 7, status="not_found")
    for each in hostile:
        each.text = HOSTILE
    found = analysed(about("leave", 9), about("leave", 8, week=1, poor=True, stage="reading"), hostile)
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_html(report_of(found), path)
    return path.read_text()


def test_it_needs_nothing_else_and_runs_nothing(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags.found}
    sources = [attributes["src"] or "" for tag, attributes in tags.found if tag == "img"]
    assert len(sources) == 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)


def test_questions_are_shown_as_text(page: str) -> None:
    assert "&lt;script&gt;alert(1)" in page


def test_it_says_what_is_not_answered_which_stage_failed_and_what_was_used(page: str) -> None:
    assert "17 questions of 9 people" in page
    assert "Stages that poor answers are the fault of: reading 8" in page
    assert "100%" in page
    assert "2026-W02" in page


def test_weeks_of_few_people_are_dashes(tmp_path: Path) -> None:
    found = analysed(about("leave", 9, n_tokens=4321), about("leave", 9, week=1, people=1, n_tokens=77))
    path = tmp_path / "report.html"
    write_html(report_of(found), path)
    page = path.read_text()
    assert "By week: -, -." in page
    assert "Weeks in which fewer than 3 people asked have no numbers" in page
    assert f">{9 * 77}<" not in page
    assert f">{9 * 4321}<" not in page


@pytest.mark.parametrize("html", [True, False])
def test_a_missing_library_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, html: bool) -> None:
    monkeypatch.setattr(report_page, "find_spec", lambda name: None if name != "sklearn" or not html else object())
    with pytest.raises(ConfigurationError, match=r"millrace\[report\]"):
        check_installed(html=html)
