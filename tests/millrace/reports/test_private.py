"""Laws about files that show people's own words."""

import os
import stat
from pathlib import Path

import pytest

from millrace.reports.private import write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _everybody_may_read() -> object:
    """What is written is readable by all, unless the writer sees to it: the control."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replay.json"
    write_private(b"asked", path)
    assert (mode(path), path.read_bytes()) == (0o600, b"asked")
    other = tmp_path / "other"
    other.write_bytes(b"")
    assert mode(other) == 0o666


def test_a_file_that_everybody_could_read_is_closed_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "replay.json"
    path.write_bytes(b"a longer one of before")
    path.chmod(0o644)
    write_private(b"asked", path)
    assert (mode(path), path.read_bytes()) == (0o600, b"asked")


def test_there_is_no_moment_in_which_others_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    path = tmp_path / "replay.json"
    monkeypatch.setattr(os, "fchmod", lambda *_: found.append(mode(path)))
    write_private(b"asked", path)
    assert found == [0o600]


def test_what_is_no_file_keeps_its_mode(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o666)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_private(b"asked", pipe)
    assert (mode(pipe), os.read(reader, 9)) == (0o666, b"asked")
    os.close(reader)
