"""Object stores as a source: S3, Google Cloud Storage, Azure, and folders by ``file:``, all through obstore."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from millrace.errors import InputRejected, Unavailable
from millrace.ingest.addresses import shown
from millrace.ingest.memory import Memory, RememberingSource, Seen
from millrace.ingest.source import Document, Held
from millrace.ingest.walk import MEDIA_TYPES, UTF8_TYPES, Rules, Walk, chooser, ending

if TYPE_CHECKING:  # a name of its stubs alone
    from obstore import ObjectMeta

_REMEDY: Final = "check the URL, and the credentials that the environment gives (AWS_..., GOOGLE_..., AZURE_...)"


def open_store(url: str) -> ObjectStore:
    """The store of a URL, with the credentials of the environment.

    Raises
    ------
    InputRejected
        If the URL names none.
    """
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise InputRejected(f"{shown(url)} cannot be opened: {_first_line(error)}; {_REMEDY}") from error


class BucketSource(RememberingSource):
    """Objects below one prefix; an id is the rest of an object's key.

    Parameters
    ----------
    store : ObjectStore
        The store, at its prefix.
    memory : Memory
        Validators of earlier listings.
    name : str
        Name of the source.
    rules : Rules
        Which objects, and how large.
    prefix : str
        Put before each id, with a slash.
    """

    def __init__(self, store: ObjectStore, memory: Memory, *, name: str, rules: Rules, prefix: str = "") -> None:
        super().__init__(name, prefix, memory)
        self._store = store
        self._rules = rules
        self._takes = chooser(rules)
        self._folder = Path(store.prefix) if isinstance(store, LocalStore) and store.prefix is not None else None

    async def documents(self, held: Held) -> AsyncGenerator[Document, None]:
        """Objects whose ETag, or time and size, are not those of what the log holds."""
        self.skipped, self.passed_over = [], Counter()
        for meta, media_type in await (self._list() if self._folder is None else self._walk(self._folder)):
            name = self._prefix + meta["path"]
            if meta["size"] > self._rules.max_bytes:
                message = f"it has {meta['size']} bytes, at most {self._rules.max_bytes} are taken; raise --max-bytes"
                self._skip(name, "too_large", message)
            elif self._memory.held(name, held(name)).stamp == _stamp(meta):
                yield Document(id=name, media_type=media_type, state="unchanged")
            elif (document := await self._read(meta["path"], name, media_type)) is not None:
                yield document

    async def lost(self, documents: Collection[str]) -> set[str]:
        """Documents whose object is gone."""
        if self._folder is not None:
            walk = Walk(self._folder, self._rules, self._prefix)
            return await asyncio.to_thread(lambda: {document for document in documents if walk.lost(document)})
        there = {self._prefix + meta["path"] for meta in await self._metas()}
        return {document for document in documents if document.startswith(self._prefix) and document not in there}

    async def close(self) -> None:
        """Nothing is held."""

    async def _metas(self) -> list["ObjectMeta"]:
        try:
            found = [meta async for batch in obstore.list(self._store) for meta in batch]
        except BaseError as error:
            raise Unavailable(f"{self.name} cannot be listed: {_first_line(error)}; {_REMEDY}") from error
        return sorted(found, key=lambda meta: meta["path"])

    async def _list(self) -> "list[tuple[ObjectMeta, str]]":
        """What to look at in a store, each with its media type."""
        found = []
        for meta in await self._metas():
            key = PurePosixPath(meta["path"])
            media_type = MEDIA_TYPES.get(key.suffix.lower())
            if _is_hidden(meta["path"]) or not self._takes(meta["path"]):
                continue
            if media_type is None:
                self.passed_over[ending(key)] += 1
            else:
                found.append((meta, media_type))
        return found

    async def _walk(self, folder: Path) -> "list[tuple[ObjectMeta, str]]":
        """The same for a folder. One link in a circle, or one odd name, would end obstore's listing of all of it."""
        walk = Walk(folder, self._rules, self._prefix, ignores=False)
        found = []
        for file in await asyncio.to_thread(list, walk):
            try:
                found.append((await obstore.head_async(self._store, file.id[len(self._prefix) :]), file.media_type))
            except (BaseError, OSError, ValueError) as error:
                self._skip(file.id, "unreadable", f"the file cannot be read: {_first_line(error)}")
        self.skipped += walk.skipped
        self.passed_over += walk.passed_over
        return found

    async def _read(self, key: str, name: str, media_type: str) -> Document | None:
        try:
            got = await obstore.get_async(self._store, key)
            if got.meta["size"] > self._rules.max_bytes:
                self._skip(name, "too_large", f"it grew over {self._rules.max_bytes} bytes after it was listed")
                return None
            content = bytes(await got.bytes_async())
        except (BaseError, OSError) as error:
            self._skip(name, "unreadable", f"the object cannot be read: {_first_line(error)}")
            return None
        if media_type in UTF8_TYPES:
            try:
                content.decode()
            except UnicodeDecodeError as error:
                self._skip(name, "undecodable", f"byte {error.start} is not UTF-8; convert the object")
                return None
        self._memory.seen[name] = Seen(stamp=_stamp(got.meta), sha256=hashlib.sha256(content).hexdigest())
        return Document(id=name, media_type=media_type, content=content)


def _stamp(meta: "ObjectMeta") -> str:
    return meta.get("e_tag") or f"{meta['last_modified'].isoformat()} {meta['size']}"


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


def _first_line(error: Exception) -> str:
    return shown(str(error).partition("\n")[0])
