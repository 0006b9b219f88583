"""The home folder: private, of a known format, changed by one command at a time."""

import json
import stat
from pathlib import Path

import pytest

from infra.launch.home import FORMAT, UPGRADES, prepare_home, read_format, write_private
from infra.launch.stack import STACK_FORMAT, Stack, read_stack, write_stack
from millrace.errors import ConfigurationError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _stack(home: Path) -> Stack:
    return Stack(
        profile="embedded",
        bootstrap="127.0.0.1:9092",
        log_epoch="ab12",
        objects=str(home / "objects"),
        home=str(home),
        started_at="2026-01-01T00:00:00+00:00",
        partitions={"topic": 4},
    )


def test_a_new_home_is_private_and_of_this_format(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    prepare_home(home)
    assert read_format(home) == FORMAT
    assert {_mode(home), _mode(home / "run"), _mode(home / "logs")} == {0o700}


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    before = (tmp_path / "format").stat()
    prepare_home(tmp_path)
    assert (tmp_path / "format").stat() == before


def test_a_newer_format_is_refused_with_the_remedy_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "format").write_text(f"{FORMAT + 1}\n")
    with pytest.raises(ConfigurationError, match=f"has format {FORMAT + 1}, .* up to {FORMAT}.*another folder with"):
        prepare_home(tmp_path)
    assert (tmp_path / "format").read_text() == f"{FORMAT + 1}\n"
    assert not (tmp_path / "run").exists()


def test_an_older_format_is_upgraded_with_its_data(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state" / "table").write_text("rows")
    tmp_path.chmod(0o755)
    prepare_home(tmp_path)
    assert read_format(tmp_path) == FORMAT
    assert {_mode(tmp_path), _mode(tmp_path / "state")} == {0o700}
    assert (tmp_path / "state" / "table").read_text() == "rows"


def test_there_is_a_way_from_every_older_format() -> None:
    assert set(UPGRADES) == set(range(FORMAT))


@pytest.mark.parametrize("content", ["", "one", "1.5"])
def test_a_format_that_is_no_number_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "format").write_text(content)
    with pytest.raises(ConfigurationError, match="holds no version number"):
        prepare_home(tmp_path)


def test_a_private_file_is_replaced_in_one_step_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), _mode(path)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_stack_file_reads_back_as_written(tmp_path: Path) -> None:
    write_stack(_stack(tmp_path))
    assert read_stack(tmp_path) == _stack(tmp_path)
    assert json.loads((tmp_path / "stack.json").read_text())["format"] == STACK_FORMAT


def test_a_stack_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    written = _stack(tmp_path).as_json() | {"format": STACK_FORMAT + 1}
    (tmp_path / "stack.json").write_text(json.dumps(written))
    with pytest.raises(ConfigurationError, match=f"has format {STACK_FORMAT + 1}"):
        read_stack(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 1, "profile": 3}'])
def test_a_damaged_stack_file_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"cannot be read .* then remove the file"):
        read_stack(tmp_path)
