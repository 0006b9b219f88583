"""An embedder without a model: words and pairs of words, hashed into a vector.

It costs about a microsecond a word and knows no meaning: two texts are near when they share words. Good for load tests
and for machines too small for a model; for answering people's questions use `inference.embedder.OnnxEmbedder`.
"""

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Feature hashing (Weinberger et al., 2009, arXiv:0902.2206) of word unigrams and bigrams.

    The same text gets the same vector on every machine.

    Parameters
    ----------
    dim : int, default 384
        Length of the vectors.
    """

    def __init__(self, dim: int = 384) -> None:
        self.model = f"hashing-{dim}@1"
        self.dim = dim
        self.max_tokens = 256

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts; words beyond `max_tokens` of a text are not read.

        Returns
        -------
        numpy.ndarray
            Shape (len(texts), dim), float32, each row of L2 norm 1. Texts without a word all get the same vector.
        """
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            hashes = np.array(_hashes(_WORD.findall(text.lower())[: self.max_tokens]), dtype=np.int64)
            signs = np.where(hashes & 1, 1.0, -1.0)
            vector = np.bincount((hashes >> 1) % self.dim, weights=signs, minlength=self.dim)
            norm = np.linalg.norm(vector)
            if norm > 0:
                vectors[row] = vector / norm
            else:
                vectors[row, 0] = 1.0
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [len(_WORD.findall(text)) for text in texts]

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _hashes(words: Sequence[str]) -> list[int]:
    pairs = map(" ".join, pairwise(words))
    return [zlib.crc32(feature.encode("utf-8", "replace")) for feature in (*words, *pairs)]
