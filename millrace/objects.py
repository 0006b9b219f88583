"""Content by digest: what a reference is, and the SDK's own side of the object store, a local folder.

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


def object_path(ref: str) -> str:
    """Where an object lies below the root of its store.

    Raises
    ------
    InputRejected
        If `ref` is no reference.
    """
    match = _REFERENCE.fullmatch(ref)
    if match is None:
        raise InputRejected(f"{ref[:100]!r} is no object reference: expected 'sha256:' and 64 hexadecimal digits")
    digest = match[1]
    return f"objects/{digest[:2]}/{digest[2:4]}/{digest}"


def check_content(ref: str, data: bytes) -> bytes:
    """Give content back if it is what its reference says.

    Raises
    ------
    ObjectTampered
        If it is not.
    """
    if (found := reference(data)) != ref:
        raise ObjectTampered(
            f"object {ref} holds {found}: it was changed or damaged after it was written; restore it from a backup or "
            "ingest its document again"
        )
    return data


def check_size(ref: str, n_bytes: int, max_bytes: int) -> None:
    """Refuse an object before it is read.

    Raises
    ------
    TooLarge
        If it has more than `max_bytes`.
    """
    if n_bytes > max_bytes:
        raise TooLarge(f"object {ref} has {n_bytes} bytes, at most {max_bytes} are allowed here")


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
            check_size(ref, path.stat().st_size, max_bytes)
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise ObjectMissing(f"object {ref} is not in {self._folder}: it was erased or never written") from error
        except OSError as error:
            raise Unavailable(f"object folder {self._folder} cannot give {ref}: {error}") from error
        return check_content(ref, data)

    def _path(self, ref: str) -> Path:
        return self._folder / object_path(ref)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
