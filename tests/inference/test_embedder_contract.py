"""What every embedder must do, held against the one in this process and the one behind Triton."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from agents.ports import Embedder
from inference.embedder import OnnxEmbedder
from inference.minilm.artefact import PROBES, Artefact
from inference.triton import TritonEmbedder


@pytest.fixture(scope="module")
def in_process(artefact: Artefact) -> Iterator[OnnxEmbedder]:
    embedder = OnnxEmbedder(artefact, workers=2)
    yield embedder
    embedder.close()


@pytest.fixture(params=["in_process", "triton"])
async def embedder(request: pytest.FixtureRequest, artefact: Artefact) -> AsyncIterator[Embedder]:
    if request.param == "in_process":
        yield request.getfixturevalue("in_process")
        return
    embedder = await TritonEmbedder.open(artefact, request.getfixturevalue("triton").address("grpc"))
    yield embedder
    await embedder.close()


def texts_of_many_lengths(n: int) -> list[str]:
    random = np.random.default_rng(5)
    words = ["water", "mill", "grain", "wheel", "river", "stone", "sluice", "flour", "sack", "miller"]
    return [" ".join(random.choice(words, random.integers(1, 60))) for _ in range(n)]


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.sum(left * right, axis=1)
    return found


async def test_vectors_have_the_promised_shape_and_norm(embedder: Embedder) -> None:
    vectors = await embedder.embed(["one", "", "\ud800", "word " * 5_000])
    assert (vectors.shape, vectors.dtype.name) == ((4, 384), "float32")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (await embedder.embed([])).shape == (0, 384)
    assert (embedder.dim, embedder.max_tokens) == (384, 256)
    assert embedder.model.startswith("all-minilm-l6-v2@int8-")


async def test_known_texts_have_their_known_vectors(embedder: Embedder, artefact: Artefact) -> None:
    assert cosines(await embedder.embed(PROBES), artefact.expected).min() >= 0.98


async def test_vectors_are_those_of_the_embedder_in_this_process(embedder: Embedder, in_process: OnnxEmbedder) -> None:
    texts = [*texts_of_many_lengths(100), "", "word " * 5_000, "[PAD] [CLS] \u65e5\u672c\u8a9e \U0001f600"]
    assert cosines(await embedder.embed(texts), await in_process.embed(texts)).min() >= 0.99


async def test_near_meanings_have_near_vectors(embedder: Embedder) -> None:
    cat, kitten, invoice = await embedder.embed(
        ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The invoice is due in May."]
    )
    assert cat @ kitten > 0.6
    assert cat @ invoice < 0.3


async def test_a_vector_does_not_depend_on_the_texts_beside_it(embedder: Embedder) -> None:
    texts = texts_of_many_lengths(60)
    together = await embedder.embed(texts)
    alone = np.concatenate([await embedder.embed([text]) for text in texts])
    assert cosines(together, alone).min() > 0.9999


async def test_order_is_kept_whatever_the_lengths(embedder: Embedder) -> None:
    texts = texts_of_many_lengths(200)
    forward, backward = await asyncio.gather(embedder.embed(texts), embedder.embed(texts[::-1]))
    assert cosines(forward, backward[::-1]).min() > 0.9999


async def test_sixteen_calls_at_a_time_get_their_own_vectors(embedder: Embedder) -> None:
    texts = texts_of_many_lengths(160)
    apart = await asyncio.gather(*(embedder.embed(texts[i::16]) for i in range(16)))
    together = await embedder.embed(texts)
    for i, vectors in enumerate(apart):
        assert cosines(vectors, together[i::16]).min() > 0.9999


async def test_text_beyond_the_limit_is_not_read(embedder: Embedder) -> None:
    long = "river " * 254
    cut, longer = await embedder.embed([long, long + "invoice " * 100])
    np.testing.assert_allclose(cut, longer, atol=1e-3)


def test_tokens_are_counted_without_truncation(embedder: Embedder) -> None:
    assert embedder.count_tokens(["", "river", "river " * 1_000, "\ud800"])[:3] == [2, 3, 1_002]
    assert embedder.count_tokens([]) == []


async def test_the_event_loop_runs_on_while_a_corpus_is_embedded(embedder: Embedder) -> None:
    embedding = asyncio.create_task(embedder.embed(texts_of_many_lengths(300)))
    turns = 0
    while not embedding.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100


async def test_a_cancelled_call_ends_at_once_and_harms_no_other(embedder: Embedder) -> None:
    texts = texts_of_many_lengths(2_000)
    corpus = asyncio.create_task(embedder.embed(texts))
    first = await embedder.embed(texts[:1])
    corpus.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(corpus, timeout=5)
    again = await asyncio.wait_for(embedder.embed([*texts[:1], *texts[:60]]), timeout=30)
    assert cosines(first, again[:1]).min() > 0.9999
