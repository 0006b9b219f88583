import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from inference.embedder import OnnxEmbedder
from inference.encoding import SHORT_CALL_CHARACTERS
from inference.minilm.artefact import Artefact

XQUAD = Path(__file__).parents[3] / "shared" / "data" / "xquad" / "xquad.en.part-a.json"


@pytest.fixture(scope="module")
def embedder(artefact: Artefact) -> Iterator[OnnxEmbedder]:
    embedder = OnnxEmbedder(artefact, workers=2)
    yield embedder
    embedder.close()


async def test_a_short_call_does_not_wait_behind_a_corpus(artefact: Artefact) -> None:
    embedder = OnnxEmbedder(artefact, workers=1)
    release = threading.Event()
    embedder._bulk.submit(release.wait, 30)
    corpus = asyncio.create_task(embedder.embed(["x " * SHORT_CALL_CHARACTERS]))
    try:
        vectors = await asyncio.wait_for(embedder.embed(["where is the mill?"]), timeout=20)
        assert vectors.shape == (1, 384)
        assert not corpus.done()
    finally:
        release.set()
        await corpus
        embedder.close()


async def test_a_cancelled_call_drops_the_batches_that_have_not_started(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = OnnxEmbedder(artefact, workers=1, batch_tokens=256)
    running, release, runs = asyncio.Event(), threading.Event(), []
    loop, run = asyncio.get_running_loop(), embedder._run

    def hold(rows: Sequence[Sequence[int]]) -> np.ndarray:
        runs.append(len(rows))
        loop.call_soon_threadsafe(running.set)
        release.wait(30)
        return run(rows)

    monkeypatch.setattr(embedder, "_run", hold)
    corpus = asyncio.create_task(embedder.embed(["x " * 254] * 40))
    await asyncio.wait_for(running.wait(), timeout=20)
    corpus.cancel()
    with pytest.raises(asyncio.CancelledError):
        await corpus
    release.set()
    embedder._bulk.shutdown(wait=True)  # waits for all that was not cancelled
    embedder.close()
    assert len(runs) == 1


async def test_after_a_failed_batch_the_others_are_dropped(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = OnnxEmbedder(artefact, workers=1, batch_tokens=256)
    release, runs = threading.Event(), []

    def fail_then_hold(rows: Sequence[Sequence[int]]) -> np.ndarray:
        runs.append(len(rows))
        if len(runs) == 1:
            raise RuntimeError("out of memory")
        release.wait(30)
        return np.zeros((len(rows), 384), dtype=np.float32)

    monkeypatch.setattr(embedder, "_run", fail_then_hold)
    with pytest.raises(RuntimeError, match="out of memory"):
        await embedder.embed(["x " * 254] * 40)
    await asyncio.sleep(0)  # the loop's turn in which cancellations reach the threads' queue
    release.set()
    embedder._bulk.shutdown(wait=True)
    embedder.close()
    assert len(runs) <= 2


@pytest.mark.shared_data
@pytest.mark.skipif(not XQUAD.is_file(), reason="data set xquad is not at hand")
async def test_questions_find_their_paragraph(embedder: OnnxEmbedder) -> None:
    paragraphs = [p for article in json.loads(XQUAD.read_text())["data"] for p in article["paragraphs"]]
    questions = [(qa["question"], i) for i, p in enumerate(paragraphs) for qa in p["qas"][:2]]
    corpus = await embedder.embed([p["context"] for p in paragraphs])
    asked = await embedder.embed([question for question, _ in questions])
    gold = np.array([i for _, i in questions])
    scores = asked @ corpus.T
    ranks = (scores > scores[np.arange(len(gold)), gold][:, None]).sum(axis=1)
    assert (ranks < 1).mean() >= 0.84  # 0.89 for the float32 graph on all 612 questions
    assert (ranks < 5).mean() >= 0.96
