"""After an embedded broker's start: bring back what earlier runs knew, from the workers' visibility tables on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.launch.broker import broker_connection
from infra.launch.stack import Stack
from infra.settings import Settings
from streams.visibility.file import Damaged, TableFile
from streams.visibility.seed import seed

_SUFFIX: Final = ".visibility.db"
_NEVER_WRITTEN: Final = ""


@dataclass(frozen=True)
class _Table:
    path: Path
    log_epoch: str
    positions: Mapping[tuple[str, int], int]
    written_ns: int


def table_path(state: Path, worker: str) -> Path:
    """File of a worker's visibility table.

    Parameters
    ----------
    state : Path
        Folder of the visibility tables, `Settings.state`.
    worker : str
        Name of the worker.
    """
    return state / f"{worker}{_SUFFIX}"


def seed_embedded(settings: Settings, stack: Stack) -> int:
    """Publish the newest versions and access of every document to a new embedded log, before any worker starts.

    Parameters
    ----------
    settings : Settings
        Names the folder of the tables.
    stack : Stack
        The new broker, whose topics exist.

    Returns
    -------
    int
        Records published; 0 when there was no earlier run.

    Raises
    ------
    ConfigurationError
        A table is damaged or held by a worker.
    TooLarge
        The state does not fit into the embedded broker's memory.
    Unavailable
        The broker does not take it.
    """
    n_records = 0
    connection = broker_connection(settings, stack.bootstrap).aiokafka()
    for path in tables_to_seed(settings.state):
        seeded = asyncio.run(seed(path, connection, log_epoch=stack.log_epoch))
        n_records += seeded.n_versions + seeded.n_accesses
    return n_records


def tables_to_seed(state: Path) -> list[Path]:
    """The tables that together know all that the last run knew: one, unless each of several is ahead somewhere.

    Every worker folds all partitions, so one table that was folded to the end suffices. After a crash one may be
    behind; and one that a worker of an earlier run left knows nothing that those of the last run do not.

    Returns
    -------
    list of Path
        In the order in which they are to be read. A damaged table stands alone, for `seed` to refuse: its state
        must not be dropped without a word.
    """
    tables: list[_Table] = []
    for path in sorted({_owner(found) for found in state.glob(f"*{_SUFFIX}*")}):
        try:
            tables.append(_look(path))
        except Damaged:
            return [path]
    if not tables:
        return []
    last = max(tables, key=lambda table: table.written_ns)
    needed: list[Path] = []
    covered: dict[tuple[str, int], int] = {}
    same_run = [table for table in tables if table.log_epoch == last.log_epoch]
    for table in sorted(same_run, key=lambda table: sum(table.positions.values()), reverse=True):
        if not needed or any(reached > covered.get(at, 0) for at, reached in table.positions.items()):
            needed.append(table.path)
            covered = {at: max(covered.get(at, 0), table.positions.get(at, 0)) for at in {*covered, *table.positions}}
    return needed


def _owner(file: Path) -> Path:
    """The table that a file belongs to: itself, its write-ahead log, or one put aside until the next has caught up."""
    return file.with_name(file.name.partition(_SUFFIX)[0] + _SUFFIX)


def _look(path: Path) -> _Table:
    if not path.exists():
        # Only files put aside are left: `seed` reads them. When they were written decides nothing else.
        aside = max(file.stat().st_mtime_ns for file in path.parent.glob(f"{path.name}*"))
        return _Table(path, _NEVER_WRITTEN, {}, aside)
    written_ns = max(file.stat().st_mtime_ns for file in (path, *path.parent.glob(f"{path.name}-wal")))
    with TableFile(path, _NEVER_WRITTEN) as file:
        positions = {(topic, partition): int(reached) for topic, partition, reached, *_ in file.rows("positions")}
        return _Table(path, file.log_epoch, positions, written_ns)
