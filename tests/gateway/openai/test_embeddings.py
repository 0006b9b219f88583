"""Vectors leave as the client reads them, in batches, few requests at a time."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
import pytest
from openai.types import CreateEmbeddingResponse

from gateway.openai.embeddings import Batches, EmbeddingRequest, response_of, texts_of
from gateway.openai.errors import Refused
from tests.fakes import CountingEmbedder


def texts(**fields: Any) -> list[str]:
    request = EmbeddingRequest.model_validate({"model": "m", "input": "a text", **fields})
    return texts_of(request, dim=256, max_inputs=3, max_characters=100)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": [1, 2, 3]},
        {"input": [[1, 2], [3]]},
        {"input": []},
        {"input": ""},
        {"input": ["a", " "]},
        {"input": ["a"] * 4},
        {"input": "x" * 101},
        {"dimensions": 128},
        {"task": "query"},
    ],
    ids=["tokens", "lists of tokens", "none", "empty", "one empty", "too many", "too long", "dimensions", "unknown"],
)
def test_what_cannot_be_embedded_as_asked_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        texts(**fields)
    assert caught.value.status_code == 400
    assert caught.value.param in fields


def test_one_text_or_several_are_taken_and_the_right_number_of_dimensions() -> None:
    assert texts() == ["a text"]
    assert texts(input=["a", "b"], dimensions=256, user="maria") == ["a", "b"]


def test_both_encodings_hold_the_same_vectors() -> None:
    vectors = (np.arange(6, dtype=np.float32).reshape(2, 3) / 7).astype(np.float32)
    given: dict[str, Any] = {"texts": ["one", "two words"], "model": "m"}
    numbers = CreateEmbeddingResponse.model_validate(response_of(vectors, encoding="float", **given))
    assert np.array_equal(np.array([each.embedding for each in numbers.data], dtype=np.float32), vectors)
    packed = response_of(vectors, encoding="base64", **given)
    rows = [np.frombuffer(base64.b64decode(each["embedding"]), dtype="<f4") for each in packed["data"]]
    assert np.array_equal(np.stack(rows), vectors)
    assert numbers.usage.prompt_tokens == 3


async def test_texts_are_embedded_in_batches_and_come_back_in_their_order() -> None:
    embedder = CountingEmbedder()
    given = [f"text {n}" for n in range(7)]
    found = await Batches(embedder, size=3, most=2).embed(given)
    assert [len(call) for call in embedder.calls] == [3, 3, 1]
    assert np.array_equal(found, await CountingEmbedder().embed(given))


class HeldEmbedder(CountingEmbedder):
    """Embeds once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def embed(self, texts: Any) -> Any:
        await self.go.wait()
        return await super().embed(texts)


async def test_one_request_too_many_is_refused_and_the_place_is_free_again_afterwards() -> None:
    embedder = HeldEmbedder()
    batches = Batches(embedder, size=8, most=2)
    waiting = [asyncio.create_task(batches.embed(["a"])) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as caught:
        await batches.embed(["b"])
    assert caught.value.status_code == 503
    assert caught.value.headers is not None
    assert "Retry-After" in caught.value.headers
    embedder.go.set()
    await asyncio.gather(*waiting)
    assert len(await batches.embed(["b"])) == 1


class SlowEmbedder(CountingEmbedder):
    """Lets others go on while it embeds."""

    async def embed(self, texts: Any) -> Any:
        await asyncio.sleep(0)
        return await super().embed(texts)


async def test_a_request_of_many_texts_lets_others_go_between_its_batches() -> None:
    embedder = SlowEmbedder()
    batches = Batches(embedder, size=1, most=2)
    await asyncio.gather(batches.embed(["a1", "a2", "a3"]), batches.embed(["b1"]))
    order = [call[0] for call in embedder.calls]
    assert order.index("b1") < order.index("a3")
