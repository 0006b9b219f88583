"""A small log of documents and access in memory, as the table's tests fold it."""

import uuid
from collections.abc import Callable, Iterable
from itertools import accumulate
from random import Random
from typing import Any

import msgspec

from millrace.codec import Codec
from millrace.event import Event, Meta
from millrace.events.corpus import AclChanged, ChunkRef, DocumentIndexed, DocumentSettled
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, Topic
from streams.visibility import VisibilityTable

CODEC = Codec()
Open = Callable[..., VisibilityTable]
_TOPICS: dict[type[Event], Topic] = {
    DocumentIndexed: DOCUMENT_INDEXED,
    AclChanged: ACL_CHANGED,
    DocumentSettled: DOCUMENT_SETTLED,
}


_WORDS = (
    "pump",
    "valve",
    "guide",
    "setup",
    "notes",
    "report",
    "safety",
    "manual",
    "policy",
    "travel",
    "release",
    "index",
)


class Consumed(msgspec.Struct, frozen=True):
    """A record as a consumer hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Asker(msgspec.Struct, frozen=True):
    groups: frozenset[str] = frozenset()


def asker(*groups: str) -> Asker:
    return Asker(frozenset(groups))


def chunk(tenant: str, document: str, version: object, n: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{tenant}/{document}/{version}/{n}"))


def indexed(document: str, version: int, n_chunks: int = 2, tenant: str = "acme", **fields: Any) -> DocumentIndexed:
    chunks = tuple(ChunkRef(chunk(tenant, document, version, n), n * 9, n * 9 + 8, 0, 0) for n in range(n_chunks))
    return DocumentIndexed(tenant=tenant, document=document, version=version, chunks=chunks, **fields)


def deleted(document: str, version: int, tenant: str = "acme") -> DocumentIndexed:
    return DocumentIndexed(tenant=tenant, document=document, version=version, deleted=True)


def acl(document: str, version: int, *groups: str, tenant: str = "acme") -> AclChanged:
    return AclChanged(tenant=tenant, document=document, version=version, groups=groups)


def realistic(n: int) -> tuple[AclChanged, DocumentIndexed]:
    """A document of ten chunks as the agents write it: identifiers and digests that repeat nowhere, some words."""
    random = Random(n)
    document = f"handbook/{random.choice(_WORDS)}/{random.choice(_WORDS)}-{n:06d}.md"
    title = " ".join(random.choices(_WORDS, k=4)).title()
    ends = list(accumulate(random.choices(range(300, 900), k=10)))
    version = indexed(
        document, 1, 10, title=title, labels={"lang": "en"}, acl_version=1, content_sha256=random.randbytes(32).hex(),
        text=f"sha256:{random.randbytes(32).hex()}", model="all-MiniLM-L6-v2/int8/1",
        headings=tuple(f"{title} > {' '.join(random.choices(_WORDS, k=3))}" for _ in range(4)),
        objects=(f"sha256:{random.randbytes(32).hex()}",), n_embedded=10, source="files",
        source_event=str(uuid.UUID(bytes=random.randbytes(16), version=5)),
        source_position=f"corpus.source.changed.v1/{n % 12}/{n}",
    )  # fmt: skip
    spans = zip(version.chunks, [0, *ends], ends, strict=False)
    chunks = tuple(ChunkRef(ref.id, start, end, at * 4 // 10, 0) for at, (ref, start, end) in enumerate(spans))
    return acl(document, 1, "*"), version.replace(chunks=chunks)


class CorpusLog:
    """Appends events and remembers them as records; ``n_partitions`` per topic, by a fixed rule."""

    def __init__(self, n_partitions: int = 2) -> None:
        self.n_partitions = n_partitions
        self.records: list[Consumed] = []
        self._ends: dict[tuple[str, int], int] = {}
        self._n = 0

    def append(self, event: Event, event_id: str = "", time_us: int = 0) -> Consumed:
        self._n += 1
        meta = Meta(
            id=event_id or str(uuid.uuid5(uuid.NAMESPACE_URL, str(self._n))),
            type=event.type_name(),
            source="index",
            time_us=time_us or self._n * 1_000_000,
            tenant=event.tenant,
            correlation_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"correlation {self._n}")),
            causation_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"cause {self._n}")),
        )
        record = CODEC.record(_TOPICS[type(event)], event.with_meta(meta))
        return self.append_bytes(record.topic, record.key, record.value, record.headers)

    def append_bytes(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()
    ) -> Consumed:
        partition = sum(key or b"") % self.n_partitions
        offset = self._ends.get((topic, partition), 0)
        self._ends[topic, partition] = offset + 1
        consumed = Consumed(topic, partition, offset, key, value, list(headers))
        self.records.append(consumed)
        return consumed


def fold(table: VisibilityTable, log: CorpusLog, *events: Event) -> None:
    """Append events to the log and fold them."""
    table.fold([log.append(event) for event in events])


def shown(table: VisibilityTable, document: str, *groups: str) -> int | None:
    """Version of a document of tenant acme that members of the groups see."""
    version = table.visible("acme", asker(*groups)).get(document)
    return version.version if version else None
