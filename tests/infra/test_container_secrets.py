"""Secrets of the containers: drawn once, private as a folder, readable by whom a container shows them to."""

import json
import stat
import tomllib
from pathlib import Path

import pytest

from infra.container_secrets import DERIVED, DRAWN, KEPT, write_secrets
from millrace.errors import ConfigurationError


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_each_is_drawn_once_and_stays(tmp_path: Path) -> None:
    assert write_secrets(tmp_path / "secrets") == list(DRAWN)
    first = _content(tmp_path / "secrets")
    assert set(first) == {*DRAWN, *DERIVED, *KEPT}
    assert write_secrets(tmp_path / "secrets") == []
    assert _content(tmp_path / "secrets") == first
    assert len({first[name] for name in DRAWN}) == len(DRAWN)


def test_two_installations_share_nothing(tmp_path: Path) -> None:
    write_secrets(tmp_path / "a")
    write_secrets(tmp_path / "b")
    a, b = _content(tmp_path / "a"), _content(tmp_path / "b")
    assert all(a[name] != b[name] for name in (*DRAWN, *DERIVED))


def test_the_folder_is_its_owners_alone_and_a_mounted_file_can_be_read_by_any_user(tmp_path: Path) -> None:
    (folder := tmp_path / "secrets").mkdir(mode=0o755)
    write_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}


def test_one_that_is_removed_is_drawn_anew_together_with_what_is_made_from_it(tmp_path: Path) -> None:
    write_secrets(tmp_path)
    (tmp_path / "kafka-operator").unlink()
    assert write_secrets(tmp_path) == ["kafka-operator"]
    new = (tmp_path / "kafka-operator").read_text()
    assert json.loads((tmp_path / "kafka-users.json").read_text())["operator"] == new
    assert tomllib.loads((tmp_path / "millrace.toml").read_text())["kafka"]["sasl_password"] == new


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_file_that_the_user_has_written_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    write_secrets(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"secrets cannot be kept in .*file.*--folder"):
        write_secrets(tmp_path / "file")
