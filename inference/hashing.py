"""An embedder without a model: words and pairs of words, hashed into a vector.

It costs some microseconds a text and knows no meaning: two texts are near when they share words. Good for load tests
and for machines too small for a model; for answering people's questions use `inference.embedder.OnnxEmbedder`.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

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
        for vector, text in zip(vectors, texts, strict=True):
            for feature in _features(_WORD.findall(text.lower())[: self.max_tokens]):
                digest = _hash(feature)
                vector[(digest >> 1) % self.dim] += 1.0 if digest & 1 else -1.0
            norm = np.linalg.norm(vector)
            if norm > 0:
                vector /= norm
            else:
                vector[0] = 1.0
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text."""
        return [len(_WORD.findall(text)) for text in texts]

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _features(words: Sequence[str]) -> Iterator[str]:
    yield from words
    for first, second in zip(words, words[1:], strict=False):
        yield f"{first} {second}"


@lru_cache(maxsize=65_536)
def _hash(feature: str) -> int:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
