"""Laws of the check that keeps machines, indexes and leftovers out of the repository's text."""

from pathlib import Path

import pytest

from tools.project_text import check_text
from tools.source_files import ROOT

# Put together here for the same reason as in the check: this file is checked too.
SLASH = "/"


@pytest.mark.parametrize(
    "text",
    [
        f"see {SLASH}work/main/docs",
        f"`{SLASH}tmp/kafka`",
        f"cd {SLASH}root/project",
        f"data = '{SLASH}home/someone/data'",
        "https://" + "pypi" + ".org/simple",
        "https://files." + "pythonhosted" + ".org/x",
        "# " + "TO" + "DO later",
    ],
)
def test_text_about_a_machine_an_index_or_unfinished_work_is_found(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"fine\n{text}\n", encoding="utf-8")
    (finding,) = check_text([page], tmp_path)
    assert finding.startswith("page.md:2: ")


@pytest.mark.parametrize(
    "text", ["docs/work/plan.md", "a/tmp/b", "~/tmp/x", "$HOME/work/x", "no todos here", "/v1/ready"]
)
def test_ordinary_text_passes(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert check_text([page], tmp_path) == []


def test_a_file_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    blob = tmp_path / "model.onnx"
    blob.write_bytes(b"TO" + b"DO")
    assert check_text([blob], tmp_path) == []


def test_the_check_does_not_contain_what_it_forbids() -> None:
    assert check_text([ROOT / "tools" / "project_text.py", Path(__file__)], ROOT) == []
