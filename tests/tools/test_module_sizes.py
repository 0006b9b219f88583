"""Laws of the size limit."""

from pathlib import Path

import pytest

from tools.module_sizes import check_sizes


@pytest.mark.parametrize(("n_lines", "n_errors", "n_notices"), [(250, 0, 0), (251, 0, 1), (400, 0, 1), (401, 1, 0)])
def test_over_250_lines_is_a_notice_and_over_400_an_error(
    tmp_path: Path, n_lines: int, n_errors: int, n_notices: int
) -> None:
    module = tmp_path / "module.py"
    module.write_text("x = 1\n" * n_lines, encoding="utf-8")
    report = check_sizes([module], tmp_path)
    assert (len(report.errors), len(report.notices)) == (n_errors, n_notices)


def test_only_python_counts(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("x\n" * 5000, encoding="utf-8")
    assert check_sizes([lock], tmp_path).errors == ()
