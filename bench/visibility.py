"""P11: what the visibility table costs: to fold, on disk, and to look up the hits of a search."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.lab import Lab
from bench.measure import Check, Outcome, percentile
from millrace import ids
from millrace.codec import Codec
from millrace.event import Event, Meta
from millrace.events.corpus import AclChanged, ChunkRef, DocumentIndexed
from millrace.reader import RawRecord
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, Topic
from streams.visibility.table import VisibilityTable

TENANT = "acme"
N_CHUNKS = 10
BATCH = 500  # what the tail folds at a time


class Asker(msgspec.Struct, frozen=True):
    """Who asks."""

    groups: frozenset[str]


async def measure(lab: Lab) -> Outcome:
    """Fold a log of documents and access into a new file, then look up hits."""
    n = lab.size(10_000, 300)
    codec = Codec()
    log = _log(codec, n)
    rates, cpu_rates, sizes, lookups = [], [], [], []
    for i in range(max(lab.repetitions, 5)):
        path = lab.new_folder("table") / f"{i}.visibility.db"
        rate, cpu_rate, size, lookup_ms = _once(path, codec, log, n)
        rates.append(rate)
        cpu_rates.append(cpu_rate)
        sizes.append(size)
        lookups.append(lookup_ms)
    return Outcome(
        checks=(
            Check(id="P11", what="fold", relation=">=", limit=20_000, unit="events/s", values=tuple(rates)),
            Check(id="P11", what=f"document of {N_CHUNKS} chunks on disk", relation="<=", limit=1000, unit="bytes",
                  values=tuple(sizes)),
            Check(id="P11", what="lookup of 100 hits, p99", relation="<=", limit=2.0, unit="ms", values=tuple(lookups)),
        ),
        numbers={
            "documents": n, "events": len(log), "bytes of a record": len(log[1].value or b""),
            "events folded in a second of processor time": statistics.median(cpu_rates),
        },
        notes=(
            f"{n} documents of {N_CHUNKS} chunks, each with one AclChanged and one DocumentIndexed, decoded, "
            f"checked and folded in batches of {BATCH}, each one SQLite transaction. Size on disk after a "
            "checkpoint. A lookup is `visible` for a principal, `why_not` of 100 hits in 100 documents, and "
            "the versions of the first ten."
        ),
    )  # fmt: skip


def _once(path: Path, codec: Codec, log: Sequence[RawRecord], n: int) -> tuple[float, float, float, float]:
    """Events folded a second, the same of processor time, bytes a document, 99th percentile of a lookup in ms."""
    table = VisibilityTable.open(path, codec)
    try:
        began, cpu_began = time.perf_counter(), time.process_time()
        for start in range(0, len(log), BATCH):
            table.fold(log[start : start + BATCH])
        rate, cpu_rate = len(log) / (time.perf_counter() - began), len(log) / (time.process_time() - cpu_began)
        lookup_ms = _lookup_ms(table, n)
    finally:
        table.close()
    return rate, cpu_rate, path.stat().st_size / n, lookup_ms


def _lookup_ms(table: VisibilityTable, n: int) -> float:
    asker = Asker(frozenset({"crew"}))
    times = []
    for i in range(200):
        hits = [(f"manual/{(i * 101 + j * 7) % n}.md", (i + j) % N_CHUNKS) for j in range(100)]
        wanted = [(document, _chunk(document, number)) for document, number in hits]
        began = time.perf_counter()
        view = table.visible(TENANT, asker)
        visible = [document for document, chunk in wanted if view.why_not(document, chunk) is None]
        for document in visible[:10]:
            view.get(document)
        times.append((time.perf_counter() - began) * 1000)
    return percentile(times, 0.99)


def _log(codec: Codec, n: int) -> list[RawRecord]:
    found: list[RawRecord] = []
    ends: dict[tuple[str, int], int] = {}
    for i in range(n):
        document = f"manual/{i}.md"
        for topic, event in (
            (ACL_CHANGED, AclChanged(tenant=TENANT, document=document, version=1, groups=("crew",))),
            (DOCUMENT_INDEXED, _indexed(document)),
        ):
            found.append(_record(codec, topic, event, i, ends))
    return found


def _record(codec: Codec, topic: Topic, event: Event, i: int, ends: dict[tuple[str, int], int]) -> RawRecord:
    meta = Meta(
        id=ids.derived(event.type_name(), i), type=event.type_name(), source="millrace/agent/index",
        time_us=1_700_000_000_000_000 + i, tenant=TENANT, correlation_id=ids.derived("c", i),
        causation_id=ids.derived("s", i),
    )  # fmt: skip
    record = codec.record(topic, event.with_meta(meta))
    partition = i % 4
    offset = ends.get((topic.name, partition), 0)
    ends[topic.name, partition] = offset + 1
    return RawRecord(topic.name, partition, offset, -1, record.key, record.value, record.headers)


def _indexed(document: str) -> DocumentIndexed:
    chunks = tuple(ChunkRef(_chunk(document, j), j * 300, j * 300 + 290, 0, 0) for j in range(N_CHUNKS))
    return DocumentIndexed(
        tenant=TENANT, document=document, version=1, title=document, headings=("Manual",), chunks=chunks,
        objects=(f"sha256:{ids.content_hash(document)}",), content_sha256=ids.content_hash(document + "c"),
        text=f"sha256:{ids.content_hash(document + 't')}", model="all-minilm-l6-v2@int8-v1-53aa5117",
        n_embedded=N_CHUNKS, source="docs", source_event=ids.derived("s", document),
        source_position="corpus.source.changed.v1/1/4711",
    )  # fmt: skip


def _chunk(document: str, number: int) -> str:
    return ids.derived("chunk", TENANT, document, number)
