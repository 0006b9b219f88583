"""The parts of a row that every store keeps as bytes, and what must fit before a row is written."""

from collections.abc import Iterable

import numpy as np

from millrace.rows import ChunkRow


def check_vectors(rows: Iterable[ChunkRow], dim: int) -> None:
    """Refuse rows that the index cannot hold.

    Raises
    ------
    ValueError
        If a vector has another length than the index's.
    """
    for row in rows:
        if row.vector.shape != (dim,) or row.sentence_vectors.shape != (len(row.sentences), dim):
            found = f"{row.vector.shape} and {row.sentence_vectors.shape} for {len(row.sentences)} sentences"
            raise ValueError(
                f"chunk {row.chunk_id} has vectors of shape {found}, the index holds ({dim},) and (n, {dim}): "
                "rebuild the index after a change of the embedding model"
            )


def pack_spans(row: ChunkRow) -> bytes:
    """Sentence spans as little-endian int32 pairs."""
    return np.asarray(row.sentences, dtype="<i4").tobytes()


def unpack_spans(data: bytes) -> tuple[tuple[int, int], ...]:
    """Sentence spans, end exclusive."""
    return tuple((start, end) for start, end in np.frombuffer(data, dtype="<i4").reshape(-1, 2).tolist())


def pack_sentence_vectors(row: ChunkRow) -> bytes:
    """Sentence vectors as little-endian float16."""
    return row.sentence_vectors.astype("<f2", copy=False).tobytes()


def unpack_sentence_vectors(data: bytes, dim: int) -> np.ndarray:
    """Sentence vectors of shape (n, dim), float16, read-only."""
    return np.frombuffer(data, dtype="<f2").reshape(-1, dim)


def readonly(array: np.ndarray) -> np.ndarray:
    """Keep the receivers of a row that is held in memory from changing it."""
    array.flags.writeable = False
    return array
