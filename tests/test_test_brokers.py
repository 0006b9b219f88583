"""What a killed test run left is ended, and what cannot be understood is let be."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from infra.launch.processes import ProcessRecord
from tests import brokers


@pytest.mark.parametrize(
    "note", ["{", "[]", "7", '{"pid": 1}', '{"name": "x", "pid": 1, "made_by": "another version"}']
)
def test_a_note_of_another_version_counts_as_absent(tmp_path: Path, note: str) -> None:
    (tmp_path / "owner.json").write_text(note)
    assert brokers._noted(tmp_path / "owner.json") is None


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = ProcessRecord("pytest", 1, 2.0, "log")
    brokers.note_process(tmp_path / "owner.json", record)
    assert json.loads((tmp_path / "owner.json").read_text()) == asdict(record)
    assert brokers._noted(tmp_path / "owner.json") == record
