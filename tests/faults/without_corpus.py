"""Defences of identity, index and access, each taken out of this process by a function; see `tests.faults.without`."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.producer.message_accumulator import BatchBuilder

import infra.composition
import millrace.ids
import millrace.invoke
import millrace.schema_folder
import streams.worker
from agents.corpus.emitted import EmittedVersions
from agents.ports import Principal
from inference.embedding_cache import EmbeddingCache
from inference.hashing import HashingEmbedder
from millrace.codec import Codec, Headers, meta_of
from millrace.event import Event, Origin, attach
from millrace.events.query import Receipt
from millrace.registered import Registered
from millrace.rows import ChunkRow
from millrace.schema import avro_schema
from millrace.topics import Topic
from streams.stores.lance_table import LanceTable, encode
from streams.stores.objects import ContentStore
from streams.visibility import VisibilityTable, fold
from streams.visibility.answers import RecentAnswers
from streams.visibility.file import TableFile
from streams.visibility.tail import Tail
from streams.visibility.visible_set import VisibleSet
from tests.faults.workload import GROUPS


def without_derived_ids() -> None:
    """Give outputs a new id each time."""
    vars(millrace.invoke)["output_id"] = lambda *_: secrets.token_hex(16)


def counting() -> None:
    """Take out nothing; note in the home folder how many texts are embedded."""
    noted = Path(os.environ["MILLRACE_HOME"]) / "embedded.txt"
    embed = HashingEmbedder.embed

    async def counted(self: HashingEmbedder, texts: Sequence[str]) -> Any:
        with noted.open("a") as file:
            file.write(f"{len(texts)}\n")
        return await embed(self, texts)

    type.__setattr__(HashingEmbedder, "embed", counted)


def without_memory() -> None:
    """Forget what was emitted and embedded."""

    def newest(self: EmittedVersions, agent: str, tenant: str, document: str) -> None:
        """Know nothing."""

    async def get_many(self: EmbeddingCache, tenant: str, model: str, hashes: Sequence[str]) -> dict[str, bytes]:
        return {}

    type.__setattr__(EmittedVersions, "newest", newest)
    type.__setattr__(EmbeddingCache, "get_many", get_many)


def without_digests() -> None:
    """Believe that an object is what its reference says."""

    async def get(self: ContentStore, ref: str, max_bytes: int = 2**26) -> bytes:
        return await asyncio.to_thread(found, ref.removeprefix("sha256:"))

    def found(digest: str) -> bytes:
        return next(Path(os.environ["MILLRACE_OBJECTS"]).rglob(digest)).read_bytes()

    type.__setattr__(ContentStore, "get", get)


def without_schemas() -> None:
    """Look nowhere for the schemas of other writers."""
    vars(millrace.schema_folder)["writers"] = lambda folder: lambda number: None


def without_history() -> None:
    """Take every change for the first one of its document."""

    def current(self: Tail, tenant: str, document: str) -> None:
        """Know nothing."""

    def resolved(self: Tail, receipt: Receipt) -> bool:
        return False

    type.__setattr__(Tail, "current", current)
    type.__setattr__(Tail, "resolved", resolved)


def without_chunk_ids() -> None:
    """Draw chunk ids by lot."""
    vars(millrace.ids)["chunk_id"] = lambda *_: str(uuid.UUID(bytes=secrets.token_bytes(16)))


def without_tenants() -> None:
    """Take the body's word for whose record it is."""

    def read(
        self: Codec, topic: Topic, key: bytes | None, value: bytes | None, headers: Headers, origin: Origin
    ) -> Event:
        event = self.decode(value)
        return attach(event, msgspec.structs.replace(meta_of(headers, origin), tenant=event.tenant))

    type.__setattr__(Codec, "read", read)


def without_order() -> None:
    """Let the last record win, whatever its version."""
    last = property(lambda version: ((0, 0, 0), version.offset, version.partition))
    type.__setattr__(fold.Version, "precedence", last)


def without_merging() -> None:
    """Add rows whether or not their chunk ids are there."""

    async def insert(self: LanceTable, rows: Sequence[ChunkRow]) -> int:
        table = await self._open_for_writing()
        await table.add(encode(rows, self._dim))
        return len(rows)

    type.__setattr__(LanceTable, "insert", insert)


def without_warm() -> None:
    """Ask the registry for a schema when it is needed and not before."""

    def warm(self: Registered, *_: object) -> None:
        """Ask for nothing."""

    def schemas(self: Codec) -> dict[int, dict[str, Any]]:
        return {number: avro_schema(event) for number, (event, *_) in self._decoders.items()}

    type.__setattr__(Registered, "warm", warm)
    type.__setattr__(Codec, "schemas", schemas)
    for module in (infra.composition, streams.worker):
        vars(module)["codec_for"] = lambda specs, codec: codec


def without_certainty() -> None:
    """Take rows for written, found and safe from a kill of the server once it has answered."""
    from streams.stores.weaviate.collection import WeaviateRows  # noqa: PLC0415 - its client takes a second to import

    async def insert(self: WeaviateRows, rows: Sequence[ChunkRow]) -> None:
        if not self._prepared:
            await self._prepare()
        await self._insert_part(rows)

    type.__setattr__(WeaviateRows, "insert", insert)


def without_garbage() -> None:
    """Collect no garbage."""

    async def collect_garbage(*_: object, **__: object) -> None:
        """Leave everything."""

    vars(sys.modules["agents.corpus.index"])["collect_garbage"] = collect_garbage  # the package names its agent so


def without_access() -> None:
    """Take whoever asks for a member of every group."""
    visible = Tail.visible

    def to_all(self: Tail, tenant: str, principal: Principal, **options: Any) -> VisibleSet:
        return visible(self, tenant, Principal(principal.user, frozenset(GROUPS)), **options)

    type.__setattr__(Tail, "visible", to_all)


def without_checksums() -> None:
    """Believe what stands in the visibility table's file."""

    def rows(self: TableFile, table: str) -> Iterable[Any]:
        order = "" if table in {"positions", "ended"} else " ORDER BY 1"
        return self.reader.execute(f"SELECT * FROM {table}{order}")

    type.__setattr__(TableFile, "rows", rows)


def by_clock() -> None:
    """Take a record that was written earlier, by whatever clock, than another of its key for the older one."""
    newest: dict[tuple[str, bytes], int] = {}
    fold_records = VisibilityTable.fold

    def is_newer(record: Any) -> bool:
        name = (record.topic, record.key)
        if record.timestamp < newest.get(name, 0):
            return False
        newest[name] = record.timestamp
        return True

    def fold(self: VisibilityTable, records: Iterable[Any], positions: Any = None) -> Any:
        return fold_records(self, [record for record in records if is_newer(record)], positions)

    type.__setattr__(VisibilityTable, "fold", fold)


def _shift_clock(seconds: int) -> None:
    now, now_ns, append = time.time, time.time_ns, BatchBuilder.append
    vars(time)["time"] = lambda: now() + seconds
    vars(time)["time_ns"] = lambda: now_ns() + seconds * 10**9

    def appended(self: BatchBuilder, *, timestamp: int | None, **record: Any) -> Any:
        return append(self, timestamp=timestamp or round(time.time() * 1000), **record)

    type.__setattr__(BatchBuilder, "append", appended)  # it asks the system itself


def ahead() -> None:
    """Set the clock an hour ahead, as nearly as a broker takes it."""
    _shift_clock(3590)


def behind() -> None:
    """Set the clock back by an hour."""
    _shift_clock(-3590)


def versions_held() -> None:
    """Take out nothing; never come back from a write to the vector store, so that no version lists what was written."""
    from streams.stores.weaviate.store import WeaviateVectorStore  # noqa: PLC0415 - takes long

    upsert = WeaviateVectorStore.upsert

    async def held(self: WeaviateVectorStore, rows: Sequence[ChunkRow]) -> None:
        await upsert(self, rows)
        await asyncio.Event().wait()

    type.__setattr__(WeaviateVectorStore, "upsert", held)


def without_every_record() -> None:
    """Leave every third record out of the visibility table."""
    fold_records = VisibilityTable.fold

    def fold(self: VisibilityTable, records: Iterable[Any], positions: Any = None) -> Any:
        kept = [record for record in records if record.offset % 3 != 2]
        return fold_records(self, kept, positions)

    type.__setattr__(VisibilityTable, "fold", fold)


def without_ends() -> None:
    """Know of no question that has been answered."""

    def find(self: RecentAnswers, tenant: str, correlation: str) -> None:
        """Know nothing."""

    type.__setattr__(RecentAnswers, "find", find)
