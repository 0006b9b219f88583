"""Rows as the server's objects, and how many of them go into one request."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from weaviate.classes.data import DataObject

from millrace.rows import ChunkRow
from streams.stores.row_bytes import (
    pack_sentence_vectors,
    pack_spans,
    readonly,
    unpack_sentence_vectors,
    unpack_spans,
)
from streams.stores.weaviate import schema

BATCH_ROWS: Final = 200
BATCH_BYTES: Final = 8 * 2**20


def encode(row: ChunkRow) -> DataObject[dict[str, Any], None]:
    """Turn a row into an object, its chunk id being the object's."""
    properties = {
        "document_key": schema.document_key(row.document),
        "document": row.document,
        "content_hash": row.content_hash,
        "text": row.text,
    }
    if row.sentences:  # no bytes are no blob to the server
        properties["sentences"] = _blob(pack_spans(row))
        properties["sentence_vectors"] = _blob(pack_sentence_vectors(row))
    vector = {schema.VECTOR: row.vector.astype(np.float32, copy=False).tolist()}
    return DataObject(uuid=row.chunk_id, vector=vector, properties=properties)


def decode(tenant: str, found: Any, dim: int) -> ChunkRow:
    """Turn an object with its vector and `schema.ROW_PROPERTIES` back into a row."""
    properties = found.properties
    return ChunkRow(
        tenant=tenant,
        document=properties["document"],
        chunk_id=str(found.uuid),
        content_hash=properties["content_hash"],
        text=properties["text"],
        vector=readonly(np.asarray(found.vector[schema.VECTOR], dtype=np.float32)),
        sentences=unpack_spans(base64.b64decode(properties.get("sentences") or "")),
        sentence_vectors=unpack_sentence_vectors(base64.b64decode(properties.get("sentence_vectors") or ""), dim),
    )


def batches(rows: Sequence[ChunkRow]) -> Iterator[list[ChunkRow]]:
    """Cut rows into requests of at most `BATCH_ROWS` rows and about `BATCH_BYTES` bytes."""
    part: list[ChunkRow] = []
    size = 0
    for row in rows:
        if part and (len(part) == BATCH_ROWS or size + row.nbytes > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += row.nbytes
    if part:
        yield part


def _blob(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
