"""The page about trouble names what the code says, and leaves out no exit code and no check."""

import re
from collections.abc import Iterator

from millrace.cli.output import ExitCode
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "how-to" / "find-what-is-wrong.md").read_text()
PRODUCT = ("millrace", "streams", "agents", "gateway", "infra")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def code() -> str:
    return "".join(path.read_text() for folder in PRODUCT for path in sorted((ROOT / folder).rglob("*.py")))


def named(cell: str) -> Iterator[str]:
    yield from re.findall(r"`([a-z]+(?:_[a-z]+)*)`", cell)


def test_every_reason_that_it_names_is_one_that_the_code_gives() -> None:
    said = set(re.findall(r"\"([a-z_ ]+)\"", code()))
    missing = {name for row in ROWS for cell in row[:2] for name in named(cell)} - said - {"millrace"}
    assert not missing


def test_every_exit_code_of_the_command_line_is_there() -> None:
    assert {int(row[1]) for row in ROWS if row[0] == "`millrace`"} == set(ExitCode)


def test_every_check_of_the_doctor_is_there() -> None:
    diagnosis = (ROOT / "millrace" / "diagnosis.py").read_text()
    checks = set(re.findall(r"Finding\(\s*\"([a-z ]+)\"", diagnosis))
    assert len(checks) > 8
    assert not {check for check in checks if f"`{check}`" not in PAGE}
