"""What a source said last time, so that it need not be read again. The log stays the truth: all of this may be lost."""

import hashlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from millrace.errors import ConfigurationError
from millrace.ingest.source import Skipped, below

_FORMAT: Final = 1


class Seen(msgspec.Struct, kw_only=True):
    """One document as its source described it.

    Attributes
    ----------
    url : str
        Where it was read.
    etag, last_modified : str
        Validators, as the source gave them.
    stamp : str
        When it changed, in the words of whatever lists it.
    sha256 : str
        Digest of the content that they describe, hex; they mean nothing when the log holds another one.
    links : dict of str to str
        Pages that a feed names, each with its stamp.
    """

    url: str = ""
    etag: str = ""
    last_modified: str = ""
    stamp: str = ""
    sha256: str = ""
    links: dict[str, str] = {}


class _Written(msgspec.Struct):
    format: int = _FORMAT
    seen: dict[str, Seen] = {}


class Memory:
    """What is remembered of one source for one tenant.

    Parameters
    ----------
    folder : Path or None
        Where it is kept; None keeps it for this process only.
    tenant, source : str
        Whose, and of which source.
    """

    def __init__(self, folder: Path | None, tenant: str, source: str) -> None:
        digest = hashlib.sha256(f"{tenant}\n{source}".encode()).hexdigest()[:12]
        name = re.sub(r"[^\w.-]+", "-", source)[:60]
        self._path = folder / f"{name}-{digest}.json" if folder is not None else None
        self.seen: dict[str, Seen] = self._read()

    def held(self, name: str, digest: str) -> Seen:
        """What was seen of a document, if the log still holds the content that it describes; else nothing."""
        seen = self.seen.get(name)
        return seen if seen is not None and digest and seen.sha256 == digest else Seen()

    def save(self) -> None:
        """Keep it for the next process, readable by this user alone.

        Raises
        ------
        ConfigurationError
            The folder cannot be written to.
        """
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            fresh.touch(mode=0o600)
            fresh.write_bytes(msgspec.json.encode(_Written(seen=self.seen)))
            fresh.replace(self._path)
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} cannot be written ({error}); name another folder: --state FOLDER. Everything was sent"
            ) from error

    def _read(self) -> dict[str, Seen]:
        if self._path is None:
            return {}
        try:
            written = msgspec.json.decode(self._path.read_bytes(), type=_Written)
        except (OSError, msgspec.MsgspecError):
            return {}
        return written.seen if written.format == _FORMAT else {}


class RememberingSource:
    """What sources share that note in a memory what they need not read again.

    Parameters
    ----------
    name : str
        Name of the source.
    prefix : str
        Put before each id, with a slash.
    memory : Memory
        What it said last time.
    """

    def __init__(self, name: str, prefix: str, memory: Memory) -> None:
        self.name = name
        self.skipped: list[Skipped] = []
        self.passed_over: Counter[str] = Counter()
        self.put_off: set[str] = set()
        self._prefix = below(prefix)
        self._memory = memory

    async def commit(self) -> None:
        """Keep the notes: the log has everything that they vouch for."""
        self._memory.save()

    def _skip(self, document: str, reason: str, message: str) -> None:
        self.skipped.append(Skipped(document, reason, message))
