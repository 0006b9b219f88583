"""Environments of peers: built once from a lock file, and a failure says why."""

import base64
import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from bench.peers.environments import interpreter, versions
from bench.peers.roster import LOCKS, PEERS, PIPELINES, RPC
from millrace.errors import ConfigurationError

EVERY = sorted({peer.lock for peer in (*PEERS, *PIPELINES, *RPC) if peer.lock})


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """A folder with a lock file that names a wheel beside it."""
    folder = tmp_path / "locks"
    folder.mkdir()
    wheel = folder / "pebble-1.5-py3-none-any.whl"
    content = {
        "pebble.py": b"",
        "pebble-1.5.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pebble\nVersion: 1.5\n",
        "pebble-1.5.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items())
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in (content | {"pebble-1.5.dist-info/RECORD": record.encode()}).items():
            archive.writestr(name, data)
    (folder / "pebble.txt").write_text(
        f"./{wheel.name} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    return folder


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


@pytest.mark.parametrize("lock", EVERY)
def test_a_lock_file_pins_every_release_by_hash_and_names_no_index(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text()
    pins = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE | re.IGNORECASE)[1:]
    assert pins
    assert all("==" in pin.splitlines()[0] and "--hash=sha256:" in pin for pin in pins)
    assert "://" not in text
    asked = re.findall(r"^[a-z0-9-]+", (LOCKS / f"{lock}.in").read_text(), flags=re.MULTILINE)
    assert asked
    assert set(asked) <= set(re.findall(r"^[a-z0-9-]+(?===)", text, flags=re.MULTILINE))


def test_an_environment_is_built_once(tmp_path: Path, locks: Path) -> None:
    said: list[str] = []
    python = interpreter("pebble", tmp_path / "cache", said.append, locks)
    assert versions(python, ("pebble",)) == {"pebble": "1.5"}
    assert said
    said.clear()
    assert interpreter("pebble", tmp_path / "cache", said.append, locks) == python
    assert said == []


def test_another_lock_file_is_another_environment_and_other_comments_are_not(tmp_path: Path, locks: Path) -> None:
    first = interpreter("pebble", tmp_path / "cache", locks=locks)
    lock = locks / "pebble.txt"
    lock.write_text(f"# asked for by somebody\n{lock.read_text()}")
    assert interpreter("pebble", tmp_path / "cache", locks=locks) == first
    lock.write_text(f"{lock.read_text().rstrip()} --hash=sha256:{'0' * 64}\n")
    assert interpreter("pebble", tmp_path / "cache", locks=locks) != first


def test_a_wheel_with_another_hash_is_refused_and_the_message_says_so(tmp_path: Path, locks: Path) -> None:
    lock = locks / "pebble.txt"
    lock.write_text(re.sub("sha256:.*", f"sha256:{'0' * 64}", lock.read_text()))
    with pytest.raises(ConfigurationError, match=r"(?s)pebble could not be installed from pebble\.txt:.*hash"):
        interpreter("pebble", tmp_path / "cache", locks=locks)
    assert not list((tmp_path / "cache").glob("peer-pebble-*/complete.json"))


def test_a_wheel_without_a_hash_is_refused(tmp_path: Path, locks: Path) -> None:
    lock = locks / "pebble.txt"
    lock.write_text(lock.read_text().partition(" --hash")[0])
    with pytest.raises(ConfigurationError, match=r"(?s)could not be installed.*hash"):
        interpreter("pebble", tmp_path / "cache", locks=locks)


def test_a_part_that_is_missing_in_an_environment_is_named(tmp_path: Path, locks: Path) -> None:
    python = interpreter("pebble", tmp_path / "cache", locks=locks)
    with pytest.raises(ConfigurationError, match=r"lacks one of boulder.*boulder"):
        versions(python, ("boulder",))


def test_what_this_project_installs_needs_no_environment_of_its_own(tmp_path: Path) -> None:
    assert versions(interpreter("", tmp_path), ("aiokafka",))["aiokafka"]
    assert not list(tmp_path.iterdir())
