"""Laws about keys of services: shown once, kept as digests, revoked at once."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gateway.api_keys import ApiKey, ApiKeys, new_key, read_keys
from millrace.errors import Unavailable


def written(path: Path, *keys: ApiKey, at_ns: int = 0) -> Path:
    path.write_bytes(msgspec.json.encode(keys))
    os.utime(path, ns=(at_ns, at_ns))
    return path


async def test_a_key_stands_for_its_service(tmp_path: Path) -> None:
    key, kept = new_key("crawler", "acme", ["staff"], ["write"])
    found = await ApiKeys(written(tmp_path / "keys.json", kept))(key)
    assert found is not None
    assert (found.tenant, found.user, found.groups, found.kind) == ("acme", "key:crawler", ("*", "staff"), "service")
    assert found.scopes == {"write"}


async def test_a_key_that_is_not_exactly_one_is_nobodys(tmp_path: Path) -> None:
    key, kept = new_key("crawler", "acme")
    keys = ApiKeys(written(tmp_path / "keys.json", kept))
    for wrong in (
        key[:-1],
        key + "x",
        f"mr_{kept.id}_",
        f"mr_{kept.id}_{kept.digest}",
        "mr_",
        "",
        kept.digest,
        "mr_\ud800",
    ):
        assert await keys(wrong) is None


def test_a_file_of_keys_holds_none_of_them(tmp_path: Path) -> None:
    key, kept = new_key("crawler", "acme")
    path = written(tmp_path / "keys.json", kept)
    assert key.rpartition("_")[2] not in path.read_text()
    assert read_keys(path) == (kept,)


async def test_a_key_that_is_revoked_stops_counting_within_a_second(tmp_path: Path) -> None:
    clock = [0.0]
    key, kept = new_key("crawler", "acme")
    path = written(tmp_path / "keys.json", kept, at_ns=1)
    keys = ApiKeys(path, clock=lambda: clock[0])
    assert await keys(key) is not None
    written(path, at_ns=2)
    clock[0] = 1.0
    assert await keys(key) is None
    written(path, kept, at_ns=3)
    clock[0] = 2.0
    assert await keys(key) is not None
    path.unlink()
    clock[0] = 3.0
    assert await keys(key) is None


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(ValueError, match="python -m infra keys"):
        read_keys(tmp_path / "keys.json")


async def test_while_the_file_cannot_be_read_no_key_counts_and_whoever_comes_may_come_again(tmp_path: Path) -> None:
    clock = [0.0]
    key, kept = new_key("crawler", "acme")
    path = written(tmp_path / "keys.json", kept, at_ns=1)
    keys = ApiKeys(path, clock=lambda: clock[0])
    assert await keys(key) is not None
    path.write_text("[{half of a f")
    clock[0] = 1.0
    for _ in range(2):
        with pytest.raises(Unavailable):
            await keys(key)
    written(path, kept, at_ns=3)
    assert await keys(key) is not None
