"""Content by digest in a local folder: the SDK's own side of the object store.

The layout, ``objects/ab/cd/<sha256>``, is the one the workers use, so that an app and the stack share a folder.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from millrace.errors import InputRejected, ObjectMissing, ObjectTampered, TooLarge, Unavailable

MAX_OBJECT_BYTES = 64 * 2**20
_REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")


def reference(data: bytes) -> str:
    """Reference of bytes, ``sha256:`` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class ObjectFolder:
    """Put and get bytes by the SHA-256 of their content.

    Parameters
    ----------
    folder : Path
        Root of the store, shared with the workers.
    flush : bool, default True
        Flush each object and its folders to disk before `put` returns, so that it survives the loss of power.
    """

    def __init__(self, folder: Path, *, flush: bool = True) -> None:
        self._folder = folder
        self._flush = flush

    async def put(self, data: bytes) -> str:
        """Store bytes; see `put_sync`."""
        return await asyncio.to_thread(self.put_sync, data)

    async def get(self, ref: str, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """Read an object; see `get_sync`."""
        return await asyncio.to_thread(self.get_sync, ref, max_bytes)

    def put_sync(self, data: bytes) -> str:
        """Store bytes unless they are there already, in one step: no reader ever sees half an object.

        Returns
        -------
        str
            The reference.

        Raises
        ------
        Unavailable
            If the folder cannot be written.
        """
        ref = reference(data)
        path = self._path(ref)
        partial = path.with_name(f"{path.name}#{secrets.token_hex(4)}")
        try:
            with contextlib.suppress(FileNotFoundError):
                if path.read_bytes() == data:
                    return ref
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(data)
                if self._flush:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(path)
            if self._flush:
                for folder in list(path.parents)[:4]:
                    _flush_folder(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise Unavailable(f"object folder {self._folder} cannot take {ref}: {error}") from error
        return ref

    def get_sync(self, ref: str, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """Read an object and check it against its reference.

        Raises
        ------
        ObjectMissing
            If it was erased or never written.
        ObjectTampered
            If its content is not what the reference says.
        TooLarge
            If it has more than `max_bytes`.
        InputRejected
            If `ref` is no reference.
        Unavailable
            If the folder cannot be read.
        """
        path = self._path(ref)
        try:
            size = path.stat().st_size
            if size > max_bytes:
                raise TooLarge(f"object {ref} has {size} bytes, at most {max_bytes} are allowed here")
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise ObjectMissing(f"object {ref} is not in {self._folder}: it was erased or never written") from error
        except OSError as error:
            raise Unavailable(f"object folder {self._folder} cannot give {ref}: {error}") from error
        if reference(data) != ref:
            raise ObjectTampered(f"object {ref} was changed or damaged after it was written; ingest its document again")
        return data

    def _path(self, ref: str) -> Path:
        match = _REFERENCE.fullmatch(ref)
        if match is None:
            raise InputRejected(f"{ref[:100]!r} is no object reference: expected 'sha256:' and 64 hexadecimal digits")
        digest = match[1]
        return self._folder / "objects" / digest[:2] / digest[2:4] / digest


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
