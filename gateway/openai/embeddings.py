"""Vectors of texts by the embedder that the corpus is indexed with: requests, bounds and encodings."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from gateway.openai.errors import Refused
from gateway.openai.usage import words
from gateway.service import Embedder

_IGNORED: Final = frozenset({"user", "safety_identifier"})


class EmbeddingRequest(BaseModel):
    """Body of ``POST /v1/embeddings``."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = None


def texts_of(request: EmbeddingRequest, *, dim: int, max_inputs: int, max_characters: int) -> list[str]:
    """Texts to embed.

    Raises
    ------
    Refused
        They are tokens, too many, too long or empty, or another number of dimensions is asked for.
    """
    if unknown := next((name for name in request.model_extra or {} if name not in _IGNORED), None):
        raise Refused(f"unknown parameter {unknown!r}; leave it out", param=unknown, code="unknown_parameter")
    if request.dimensions not in {None, dim}:
        raise Refused(
            f"'dimensions' is {request.dimensions}, this model has vectors of {dim} and none are cut; leave it out",
            param="dimensions",
        )
    given = [request.input] if isinstance(request.input, str) else request.input
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        raise Refused(
            "'input' holds tokens, whose vocabulary is another model's; send text (LangChain: "
            "check_embedding_ctx_length=False)",
            param="input",
        )
    if not texts or not all(text.strip() for text in texts):
        raise Refused("'input' is empty or holds an empty text", param="input")
    if len(texts) > max_inputs:
        raise Refused(f"'input' holds {len(texts)} texts, at most {max_inputs} are taken at once", param="input")
    if (length := sum(map(len, texts))) > max_characters:
        raise Refused(
            f"'input' has {length} characters, at most {max_characters} are taken at once; send several requests",
            param="input",
        )
    return texts


def response_of(
    vectors: npt.NDArray[np.float32], texts: Sequence[str], *, model: str, encoding: str | None
) -> dict[str, Any]:
    """Vectors of shape (n, dim) as numbers, or as base64 of little-endian float32."""
    plain = np.ascontiguousarray(vectors, dtype="<f4")
    data = [
        {
            "object": "embedding",
            "index": n,
            "embedding": base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist(),
        }
        for n, row in enumerate(plain)
    ]
    n_words = sum(words(text) for text in texts)
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": n_words, "total_tokens": n_words},
    }


class Batches:
    """Embeds in batches, few requests at a time: a request of many texts must not hold up every other one.

    Parameters
    ----------
    embedder : Embedder
        What embeds.
    size : int
        Texts in a batch.
    most : int
        Requests that may wait or be embedded at the same time; one more is refused.
    """

    def __init__(self, embedder: Embedder, *, size: int, most: int) -> None:
        self.embedder = embedder
        self._size = size
        self._most = most
        self._n = 0
        self._turn = asyncio.Lock()

    @property
    def full(self) -> bool:
        """Whether one more request would be refused."""
        return self._n >= self._most

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of shape (n, dim), in the order of the texts.

        Raises
        ------
        Refused
            Too many requests wait already.
        """
        if self.full:
            message = "too many embedding requests at the same time; try again"
            raise Refused(message, code="overloaded", status=503, retry_after_s=1)
        self._n += 1
        try:
            parts = []
            for start in range(0, len(texts), self._size):
                async with self._turn:  # taken for each batch: requests go on in turns
                    parts.append(await self.embedder.embed(texts[start : start + self._size]))
            return np.concatenate(parts)
        finally:
            self._n -= 1
