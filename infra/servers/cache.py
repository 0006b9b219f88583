"""What is fetched or built once per user: a folder in the cache that appears complete or not at all.

A marker inside lists each file with its size, so that a damaged installation is noticed and made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

_MARKER: Final = "complete.json"


def cached(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Make sure that a folder of the cache is there and complete.

    Parameters
    ----------
    cache : Path
        Per-user cache folder of Millrace; created if missing.
    name : str
        Name of the folder, with the version.
    make : callable
        Fills the empty folder that it is given; called only when needed, by one process at a time.

    Returns
    -------
    Path
        The folder.
    """
    target = cache / name
    if _is_complete(target):
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete(target):
            partial = cache / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            sizes = {str(path.relative_to(partial)): path.stat().st_size for path in _files(partial)}
            (partial / _MARKER).write_text(json.dumps(sizes, indent=1))
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
    return target


def digest_of_pins(*requirements: Path) -> str:
    """Digest of lock files without their comments, so that other words install nothing anew: 8 hex digits."""
    lines = [line for path in requirements for line in path.read_text().splitlines()]
    pins = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return hashlib.sha256(pins.encode()).hexdigest()[:8]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _is_complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _MARKER).read_text())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, ValueError):
        return False
