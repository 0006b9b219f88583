"""Decoded versions, read from the file when they are asked for and kept while they are in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from millrace.codec import Codec
from millrace.event import Origin
from millrace.events.corpus import ChunkRef, DocumentIndexed
from millrace.topics import DOCUMENT_INDEXED
from streams.visibility.file import TableFile
from streams.visibility.packing import CHUNK_ID_BYTES, Name, packed_chunk_ids, unpack

_MAX_REFS = 250_000  # some 220 bytes each
_REFS_PER_EVENT = 8  # what a version takes beside its chunks
_MAX_LISTS = 200_000


class Versions:
    """Versions by their row; in memory are whole ones by their size, and the lists of chunk ids of many more.

    Parameters
    ----------
    max_refs : int
        Chunks that the whole versions in memory list together, at most, where a version counts as eight chunks more;
        the one asked for last stays, however large.
    """

    def __init__(self, file: TableFile, codec: Codec, max_refs: int = _MAX_REFS) -> None:
        self._file = file
        self._codec = codec
        self._max_refs = max_refs
        self._n_refs = 0
        self._lock = threading.Lock()
        self._events: OrderedDict[int, DocumentIndexed] = OrderedDict()
        self._lists: OrderedDict[int, bytes] = OrderedDict()

    def get(self, row: int) -> DocumentIndexed:
        """A version.

        Raises
        ------
        LookupError
            If it was pruned after the set that named it was handed out.
        """
        with self._lock:
            event = self._events.get(row)
            if event is not None:
                self._events.move_to_end(row)
                return event
            event = self._events[row] = self._read(row)
            self._n_refs += _n_refs(event)
            while self._n_refs > self._max_refs and len(self._events) > 1:
                _, oldest = self._events.popitem(last=False)
                self._n_refs -= _n_refs(oldest)
            return event

    def lists(self, row: int, chunk_id: str) -> bool:
        """Whether a version lists a chunk."""
        ids = self.chunk_ids(row)
        wanted = _digest(chunk_id)
        at = ids.find(wanted)
        while at % CHUNK_ID_BYTES and at > 0:
            at = ids.find(wanted, at + 1)
        return at >= 0

    def chunk_ids(self, row: int) -> bytes:
        """Digests of the chunk ids that a version lists, 16 bytes each, in its order; see `chunk_digests`."""
        with self._lock:
            ids = self._lists.get(row)
            if ids is None:
                ids = self._chunk_ids(row)
                self._keep({row: ids})
            return ids

    def keep(self, lists: Mapping[int, bytes]) -> None:
        """Take in chunk ids that were at hand while folding, by row."""
        with self._lock:
            self._keep(lists)

    def _keep(self, lists: Mapping[int, bytes]) -> None:
        self._lists.update(lists)
        while len(self._lists) > _MAX_LISTS:
            self._lists.popitem(last=False)

    def _chunk_ids(self, row: int) -> bytes:
        """Chunk ids of a version, straight from its packed record where all of them are UUIDs."""
        event = self._events.get(row)
        if event is None:
            found = self._file.select("SELECT n_chunks, record FROM versions WHERE id = ?", (row,))
            if found and found[0][1] is not None:
                ids = packed_chunk_ids(found[0][1])
                if len(ids) == found[0][0] * CHUNK_ID_BYTES:
                    return ids
            event = self._read(row)
        return chunk_digests(event.chunks)

    def _read(self, row: int) -> DocumentIndexed:
        found = self._file.select(
            "SELECT tenant, name, record, partition, offset FROM versions JOIN documents ON documents.id = doc "
            "WHERE versions.id = ?",
            (row,),
        )
        if not found or found[0][2] is None:
            raise LookupError(f"version in row {row} of {self._file.path} is no longer kept")
        tenant, document, *kept = found[0]
        return decode_version(self._codec, (tenant, document), *kept)


def _n_refs(event: DocumentIndexed) -> int:
    return len(event.chunks) + _REFS_PER_EVENT


def decode_version(codec: Codec, name: Name, record: bytes, partition: int, offset: int) -> DocumentIndexed:
    """Version of a packed record of a document."""
    key, value, headers = unpack(name, record)
    event = codec.read(DOCUMENT_INDEXED, key, value, headers, Origin(DOCUMENT_INDEXED.name, partition, offset))
    if not isinstance(event, DocumentIndexed):
        raise TypeError(f"{DOCUMENT_INDEXED.name} gave a {type(event).__name__}")
    return event


def chunk_digests(chunks: Iterable[ChunkRef]) -> bytes:
    """Chunk ids, 16 bytes each, side by side."""
    return b"".join(_digest(chunk.id) for chunk in chunks)


def _digest(chunk_id: str) -> bytes:
    try:
        raw = bytes.fromhex(chunk_id.replace("-", ""))
    except ValueError:
        raw = b""
    return raw if len(raw) == CHUNK_ID_BYTES else blake2b(chunk_id.encode(), digest_size=CHUNK_ID_BYTES).digest()
