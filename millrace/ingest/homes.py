"""Which folders of this machine a source's name stands for: two of one name must not be taken for one source."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from millrace.errors import ConfigurationError, InputRejected
from millrace.ingest.memory import Memory, Seen


class Home:
    """The folders of a source that is named after them. A note of this machine, and like all of them it may be lost.

    Parameters
    ----------
    folder : Path or None
        Where notes are kept.
    tenant, name : str
        Whose source, and its name.
    prefix : str
        Put before its ids: with another one they cannot meet.
    roots : collection of Path
        The folders that this run reads for it, resolved.

    Raises
    ------
    InputRejected
        The name stands for another folder, which is still there.
    """

    def __init__(self, folder: Path | None, tenant: str, name: str, prefix: str, roots: Collection[Path]) -> None:
        self._memory = Memory(folder, tenant, f"folder {prefix.strip('/')}/{name}")
        self._roots = {str(root) for root in roots}
        others = sorted(root for root in self._memory.seen if root not in self._roots and Path(root).is_dir())
        if others and not self._roots & self._memory.seen.keys():
            raise InputRejected(
                f"source {name!r} is {others[0]} so far, and {min(self._roots)} is another folder; ids of one would "
                f"replace those of the other. Tell them apart: --source NAME --prefix NAME; or say that they are one "
                f"source: --source {name}"
            )
        self._there = self._roots | set(others)

    def note(self) -> None:
        """Keep it for the next run. That it cannot be kept is no reason to fail: everything was sent."""
        self._memory.seen = {root: Seen() for root in self._there}
        with contextlib.suppress(ConfigurationError):
            self._memory.save()
