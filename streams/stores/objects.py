"""Content-addressed objects: bytes under the name of their SHA-256, in a local folder or a bucket.

A reference says what the bytes must be, so putting twice is the same as putting once, and whatever was changed behind
the store's back is refused when it is read. Objects lie at ``objects/ab/cd/<digest>``.

In a local folder an object is on disk, directory entry included, when ``put`` returns; in a bucket it is as durable as
the service's answer says.
"""

import asyncio
import os
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from millrace.errors import ObjectMissing, Unavailable
from millrace.objects import MAX_OBJECT_BYTES, check_content, check_size, object_path, reference


class ContentStore:
    """Put and get bytes by the SHA-256 of their content.

    Parameters
    ----------
    location : Path or str
        A folder, created when missing, or a URL such as ``s3://bucket/prefix``.
    flush : bool, default True
        Flush each object and its folder to disk before ``put`` returns. Without it an object survives the end of the
        process but not the loss of power. Has no meaning for a URL.
    """

    def __init__(self, location: Path | str, *, flush: bool = True) -> None:
        self._folder: Path | None = None
        self._flush = flush
        self._store: ObjectStore
        if isinstance(location, str) and "://" in location:
            self._store = from_url(location)
        else:
            self._folder = Path(location).resolve()
            self._store = LocalStore(self._folder, mkdir=True)

    async def put(self, data: bytes) -> str:
        """Store bytes; see `put_sync`."""
        return await asyncio.to_thread(self.put_sync, data)

    async def get(self, ref: str, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """Read an object; see `get_sync`."""
        return await asyncio.to_thread(self.get_sync, ref, max_bytes)

    async def delete(self, ref: str) -> None:
        """Remove an object; one that is not there is ignored."""
        await asyncio.to_thread(self.delete_sync, ref)

    def put_sync(self, data: bytes) -> str:
        """Store bytes unless they are there already.

        Returns
        -------
        str
            Reference, ``sha256:`` and 64 hexadecimal digits.

        Raises
        ------
        Unavailable
            If the folder or the bucket cannot be written.
        """
        ref = reference(data)
        path = object_path(ref)
        try:
            # An object of that name whose content is damaged (a crash before it was flushed) is written again.
            if self._read(path) != data:
                obstore.put(self._store, path, data)
            self._flush_to_disk(path)
        except (BaseError, OSError) as error:
            raise Unavailable(f"object store cannot write {ref}: {error}") from error
        return ref

    def get_sync(self, ref: str, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """Read an object and check it against its reference.

        Parameters
        ----------
        ref : str
            What ``put`` returned.
        max_bytes : int, default 64 MiB
            Refuse anything larger, before reading it.

        Raises
        ------
        ObjectMissing
            If it was erased or never written.
        ObjectTampered
            If its content is not what the reference says.
        TooLarge
            If it has more than ``max_bytes``.
        InputRejected
            If ``ref`` is no reference.
        Unavailable
            If the folder or the bucket cannot be read.
        """
        path = object_path(ref)
        try:
            found = obstore.get(self._store, path)
            check_size(ref, found.meta["size"], max_bytes)
            data = found.bytes().to_bytes()
        except (NotFoundError, FileNotFoundError) as error:
            raise ObjectMissing(f"object {ref} is not in the store: it was erased or never written") from error
        except (BaseError, OSError) as error:
            raise Unavailable(f"object store cannot read {ref}: {error}") from error
        return check_content(ref, data)

    def delete_sync(self, ref: str) -> None:
        """Remove an object; one that is not there is ignored.

        Raises
        ------
        Unavailable
            If the folder or the bucket cannot be written.
        """
        path = object_path(ref)
        try:
            obstore.delete(self._store, path)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise Unavailable(f"object store cannot delete {ref}: {error}") from error

    def _read(self, path: str) -> bytes | None:
        try:
            return obstore.get(self._store, path).bytes().to_bytes()
        except (NotFoundError, FileNotFoundError):
            return None

    def _flush_to_disk(self, path: str) -> None:
        if self._folder is None or not self._flush:
            return
        file = self._folder / path
        # The file, then every folder down to it: each may have been created by this write.
        for target in (file, *list(file.parents)[: len(Path(path).parts)]):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
