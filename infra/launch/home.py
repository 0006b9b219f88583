"""The home folder of a stack: who may enter, which format it has, who is changing it.

::

    format        version of this layout
    lock          held while `up` or `down` work; names who
    stack.json    what runs now (see `infra.launch.stack`)
    run/          a state file for each process
    logs/         output of each process
    kafka/        data of the Kafka nodes, and passwords of the principals in kafka/secrets/
    registry/ weaviate/ triton/ postgres/ connect/
                  data and log of each server that was started
    registry-ids.json
                  what the ids of a schema registry stand for, by log
    vector-store.json
                  which vector store holds the rows, by log
    weaviate-keys.json
                  keys of the Weaviate server
    objects/ vectors/ state/
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from millrace.errors import ConfigurationError, Unavailable

FORMAT: Final = 1


def _adopt_unversioned(home: Path) -> None:
    """Before the first numbered format, folders could be open to other users of the machine."""
    for folder in (home, *(path for path in home.iterdir() if path.is_dir())):
        folder.chmod(0o700)


# How to get from a format to the next one.
UPGRADES: Mapping[int, Callable[[Path], None]] = MappingProxyType({0: _adopt_unversioned})


def prepare_home(home: Path) -> None:
    """Create the home folder, private to its owner, or bring an older one to this format.

    Raises
    ------
    ConfigurationError
        It was written by a newer release, or its version cannot be read.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    version = read_format(home)
    while version < FORMAT:
        UPGRADES[version](home)
        version += 1
        write_private(home / "format", f"{version}\n")
    for folder in ("run", "logs"):
        (home / folder).mkdir(exist_ok=True, mode=0o700)


def read_format(home: Path) -> int:
    """Format version of a home folder; 0 when it names none.

    Raises
    ------
    ConfigurationError
        It was written by a newer release, or its version cannot be read.
    """
    path = home / "format"
    try:
        version = int(path.read_text())
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise ConfigurationError(
            f"{path} holds no version number; write {FORMAT} there if the folder is of this release, or use --home"
        ) from error
    if not 0 <= version <= FORMAT:
        raise ConfigurationError(
            f"{home} has format {version}, this release knows formats up to {FORMAT}: it was written by a newer "
            "release; use that one, or another folder with --home"
        )
    return version


def write_private(path: Path, content: str) -> None:
    """Replace a file in one step, readable by its owner alone."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)


@contextlib.contextmanager
def held(home: Path, timeout_s: float = 120.0, progress: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the home folder, so that one `up` or `down` works on it at a time; ends with the process at the latest.

    Raises
    ------
    Unavailable
        Another process held it for all of `timeout_s` seconds.
    """
    with (home / "lock").open("a+") as lock:
        deadline = time.monotonic() + timeout_s
        waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{home} is being changed by process {holder} for more than {timeout_s:g} s; "
                        "wait for it or end it, then try again"
                    ) from None
                if not waiting:
                    progress(f"waiting for process {holder}, which is starting or ending this stack")
                waiting = True
                time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
