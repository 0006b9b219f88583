"""Processes that `up` has started and not written to ``stack.json`` yet: if it is killed in between, they are found."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from infra.launch.home import write_private
from infra.launch.processes import ProcessRecord

_SUFFIX: Final = "-process.json"


def note(home: Path, record: ProcessRecord) -> None:
    """Write down a process as soon as it exists."""
    write_private(home / "run" / f"{record.name}{_SUFFIX}", msgspec.json.encode(record).decode())


def left_behind(home: Path, listed: Collection[ProcessRecord] = ()) -> list[ProcessRecord]:
    """Processes that an `up` killed in mid-start left running; `listed` are those that ``stack.json`` names."""
    found = [_read(path) for path in sorted((home / "run").glob(f"*{_SUFFIX}"))]
    return [record for record in found if record is not None and record not in listed and record.alive]


def _read(path: Path) -> ProcessRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProcessRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
