"""Laws of the recorder of golden logs."""

import gzip
import tomllib
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import ConfigurationError
from tools.golden import log
from tools.golden.drive import Driver

SCENARIO = Path(log.__file__).with_name("scenario.toml")


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(SCENARIO.read_text())["step"]
    return found


def test_every_step_of_the_scenario_can_be_done(steps: list[dict[str, Any]]) -> None:
    assert all(hasattr(Driver, f"_{step['do']}") for step in steps)


def test_the_scenario_holds_every_kind_of_change_and_question(steps: list[dict[str, Any]]) -> None:
    done = {step["do"] for step in steps}
    assert done == {"put", "delete", "acl", "grant", "revoke", "ask", "poison", "feedback"}
    kinds = {step.get("media_type", "text/markdown") for step in steps if step["do"] == "put"}
    assert {"text/markdown", "text/plain", "text/csv", "text/html", "application/x-ndjson"} <= kinds
    asked = [step for step in steps if step["do"] == "ask"]
    assert len(asked) >= 20
    assert any("labels" in step for step in asked)
    assert any(step.get("exact") for step in asked)
    assert any(step.get("mode") == "search" for step in asked)


def test_no_step_needs_a_document_that_an_earlier_release_left_out(steps: list[dict[str, Any]]) -> None:
    since: dict[str, int] = {}
    for step in steps:
        name = step.get("document")
        if name is not None and step["do"] != "poison":
            assert step["do"] == "put" or name in since
            assert step.get("since", 0) >= since.setdefault(name, step.get("since", 0))


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-9.log.gz"
    path.write_bytes(gzip.compress(b'{"format": 2}\n'))
    with pytest.raises(ConfigurationError, match="record it again"):
        log.read(path)
