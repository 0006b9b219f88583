"""Bytes of what featurize hands to index: rows, manifests, and vectors in the cache. Deterministic."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from millrace.errors import ContractError
from millrace.events.corpus import DocumentIndexed
from millrace.rows import ChunkRow

FORMAT = 1


class _Row(msgspec.Struct, frozen=True, array_like=True):
    chunk_id: str
    content_hash: str
    text: str
    vector: bytes
    sentences: tuple[tuple[int, int], ...]
    sentence_vectors: bytes


class _Rows(msgspec.Struct, frozen=True, array_like=True):
    format: int
    tenant: str
    document: str
    dim: int
    rows: tuple[_Row, ...]


class Embedding(msgspec.Struct, frozen=True, eq=False):
    """Vectors of one chunk.

    Attributes
    ----------
    vector : numpy.ndarray
        Shape (dim,), float32, L2 norm 1.
    sentence_vectors : numpy.ndarray
        Shape (n_sentences, dim), float16.
    """

    vector: npt.NDArray[np.float32]
    sentence_vectors: npt.NDArray[np.float16]


def encode_rows(rows: Sequence[ChunkRow]) -> bytes:
    """Encode rows of one document; vectors as little-endian float32, sentence vectors as float16.

    Parameters
    ----------
    rows : sequence of ChunkRow
        At least one, all of one document and one dimension.
    """
    first = rows[0]
    return msgspec.msgpack.encode(
        _Rows(
            FORMAT,
            first.tenant,
            first.document,
            int(first.vector.shape[0]),
            tuple(
                _Row(
                    row.chunk_id,
                    row.content_hash,
                    row.text,
                    row.vector.astype("<f4", copy=False).tobytes(),
                    row.sentences,
                    row.sentence_vectors.astype("<f2", copy=False).tobytes(),
                )
                for row in rows
            ),
        )
    )


def decode_rows(data: bytes) -> list[ChunkRow]:
    """Rows of an object that `encode_rows` wrote.

    Raises
    ------
    ContractError
        If the object is of another format.
    """
    try:
        found = msgspec.msgpack.decode(data, type=_Rows)
    except msgspec.DecodeError as error:
        message = f"an object of {len(data)} bytes holds no chunk rows: {error}"
        raise ContractError(message) from error
    if found.format != FORMAT:
        message = f"chunk rows have format {found.format}, this worker reads {FORMAT}; upgrade it"
        raise ContractError(message)
    return [
        ChunkRow(
            tenant=found.tenant,
            document=found.document,
            chunk_id=row.chunk_id,
            content_hash=row.content_hash,
            text=row.text,
            vector=np.frombuffer(row.vector, dtype="<f4"),
            sentences=row.sentences,
            sentence_vectors=np.frombuffer(row.sentence_vectors, dtype="<f2").reshape(-1, found.dim),
        )
        for row in found.rows
    ]


def encode_manifest(version: DocumentIndexed) -> bytes:
    """Encode a version as it is to be indexed."""
    return msgspec.msgpack.encode(version)


def decode_manifest(data: bytes) -> DocumentIndexed:
    """Version that `encode_manifest` wrote.

    Raises
    ------
    ContractError
        If it holds something else.
    """
    try:
        return msgspec.msgpack.decode(data, type=DocumentIndexed)
    except msgspec.DecodeError as error:
        message = f"an object of {len(data)} bytes holds no manifest: {error}"
        raise ContractError(message) from error


def encode_embedding(embedding: Embedding) -> bytes:
    """Encode for the cache: the vector, then the sentence vectors."""
    return msgspec.msgpack.encode(
        (
            embedding.vector.astype("<f4", copy=False).tobytes(),
            embedding.sentence_vectors.astype("<f2", copy=False).tobytes(),
        )
    )


def decode_embedding(data: bytes, dim: int, n_sentences: int) -> Embedding | None:
    """Embedding from the cache, or None where it does not fit what is asked for."""
    try:
        vector, sentence_vectors = msgspec.msgpack.decode(data, type=tuple[bytes, bytes])
    except msgspec.DecodeError:
        return None
    if len(vector) != 4 * dim or len(sentence_vectors) != 2 * dim * n_sentences:
        return None
    return Embedding(
        np.frombuffer(vector, dtype="<f4"), np.frombuffer(sentence_vectors, dtype="<f2").reshape(n_sentences, dim)
    )


def encode_frequencies(frequencies: Mapping[str, int]) -> bytes:
    """Encode document frequencies, sorted by term."""
    return msgspec.msgpack.encode(dict(sorted(frequencies.items())))


def decode_frequencies(data: bytes) -> dict[str, int]:
    """Frequencies that `encode_frequencies` wrote.

    Raises
    ------
    ContractError
        If it holds something else.
    """
    try:
        return msgspec.msgpack.decode(data, type=dict[str, int])
    except msgspec.DecodeError as error:
        message = f"an object of {len(data)} bytes holds no term frequencies: {error}"
        raise ContractError(message) from error
