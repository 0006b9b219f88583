"""What a vector store holds and hands back: the shapes both sides of the VectorStore port share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np


class ChunkRow(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One chunk as stored: only what its content fixes, so a row never changes once written.

    Attributes
    ----------
    tenant, document : str
        Whose chunk it is, and of which document.
    chunk_id : str
        UUID with dashes, lower case.
    content_hash : str
        Hash of exactly the text that was embedded.
    text : str
        The chunk's text.
    vector : numpy.ndarray
        Shape (dim,), float32, L2 norm 1.
    sentences : tuple of (int, int)
        Character spans of the sentences within ``text``, end exclusive.
    sentence_vectors : numpy.ndarray
        Shape (len(sentences), dim), float16, each row of L2 norm 1 before rounding.
    """

    tenant: str
    document: str
    chunk_id: str
    content_hash: str
    text: str
    vector: np.ndarray
    sentences: tuple[tuple[int, int], ...]
    sentence_vectors: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory the row takes, in bytes, close enough to bound a cache with."""
        strings = len(self.tenant) + len(self.document) + len(self.chunk_id) + len(self.content_hash)
        spans = 120 * len(self.sentences)
        return 600 + strings + 2 * len(self.text) + spans + self.vector.nbytes + self.sentence_vectors.nbytes


class Candidate(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A chunk that a search proposes; whether it may be seen and where it ranks is decided elsewhere.

    Attributes
    ----------
    chunk_id, document : str
        The chunk and its document.
    row : ChunkRow or None
        The row itself where the store had it at hand; otherwise fetch it.
    """

    chunk_id: str
    document: str
    row: ChunkRow | None = None


class ScannedChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A row met in a full scan.

    Attributes
    ----------
    chunk_id, document : str
        The chunk and its document.
    archived : bool
        Whether it came from the archive.
    text : str or None
        The chunk's text where it was asked for.
    """

    chunk_id: str
    document: str
    archived: bool
    text: str | None = None
