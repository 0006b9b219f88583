"""P3: the codec against raw fastavro with a parsed schema."""

import io
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from bench.lab import Lab
from bench.measure import Check, Contender, Outcome, Sample, interleaved, medians, rate_ratios
from bench.readings import EVENTS, reading
from bench.texts import document, paragraphs
from millrace.codec import Codec
from millrace.event import Event
from millrace.events.corpus import ChunkRef, DocumentIndexed, SourceChanged
from millrace.events.query import ContextRetrieved, Hit, QueryReceived
from millrace.groups import EVERYONE
from millrace.schema import avro_schema


def examples() -> dict[str, Event]:
    """One event of each kind of body: flat, with a text, with maps and arrays, with nested records."""
    ids = [f"00000000-0000-5000-8000-{i:012d}" for i in range(10)]
    return {
        "ReadingTaken (8 flat fields)": reading(4711),
        "QueryReceived (12 fields, array, map)": QueryReceived(
            tenant="acme", conversation=ids[0], question="When is the upper gate opened?", groups=(EVERYONE, "crew")
        ),
        "SourceChanged (2 kB of text)": SourceChanged(
            tenant="acme", document="manual/locks.md", version=7, text=document(paragraphs("codec", 9)), n_bytes=2048
        ),
        "ContextRetrieved (10 hits, a vector)": ContextRetrieved(
            tenant="acme", conversation=ids[0], question="When is the upper gate opened?", vector=bytes(1536),
            hits=tuple(Hit(chunk, "manual/locks.md", 7, i, 0.5, 0.4, 3.2) for i, chunk in enumerate(ids)),
        ),
        "DocumentIndexed (10 chunks)": DocumentIndexed(
            tenant="acme", document="manual/locks.md", version=7, title="Locks", headings=("Locks",),
            objects=(f"sha256:{'ab' * 32}",), content_sha256="cd" * 32, model="all-minilm-l6-v2",
            chunks=tuple(ChunkRef(chunk, i * 300, i * 300 + 290, 0, 0) for i, chunk in enumerate(ids)),
        ),
    }  # fmt: skip


async def measure(lab: Lab) -> Outcome:
    """Encode and decode several events, each side by side with fastavro on plain dicts."""
    codec = Codec()
    for event_type in EVENTS:
        codec.register(event_type)
    n = lab.size(20_000, 200)
    checks: list[Check] = []
    numbers: dict[str, float] = {}
    for name, event in examples().items():
        parsed = parse_schema(avro_schema(type(event)))
        value = codec.encode(event)
        plain: Any = msgspec.to_builtins(event, builtin_types=(bytes,))
        contenders = {
            "encode": _repeat(n, partial(codec.encode, event)),
            "raw encode": _repeat(n, partial(_raw_encode, plain, parsed, value[:5])),
            "decode": _repeat(n, partial(codec.decode, value)),
            "raw decode": _repeat(n, partial(_raw_decode, value, parsed)),
        }
        samples = await interleaved(contenders, max(lab.repetitions, 5))
        for what in ("encode", "decode"):
            ratios = rate_ratios(samples[what], samples[f"raw {what}"])
            checks.append(Check(id="P3", what=f"{what} {name}", relation=">=", limit=0.8, unit="x", values=ratios))
        numbers |= {f"{name}, {key}": rate for key, rate in medians(samples).items() if "CPU" not in key}
    return Outcome(
        checks=tuple(checks),
        numbers=numbers,
        notes=(
            "Framed bytes to an immutable typed event and back, against framed bytes to a dict and back; "
            "times are processor time of this process."
        ),
    )


def _repeat(n: int, call: Callable[[], object]) -> Contender:
    async def run() -> Sample:
        began = time.process_time()
        for _ in range(n):
            call()
        return Sample(n, time.process_time() - began)

    return run


def _raw_encode(plain: Any, parsed: Any, head: bytes) -> bytes:
    out = io.BytesIO()
    out.write(head)
    schemaless_writer(out, parsed, plain)
    return out.getvalue()


def _raw_decode(value: bytes, parsed: Any) -> Any:
    body = io.BytesIO(value)
    body.seek(5)
    return schemaless_reader(body, parsed, None)
