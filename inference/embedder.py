"""Texts to vectors with ONNX Runtime, in this process.

Texts are sorted by length and cut into batches by their number of tokens, since padding costs more than batching saves.
Batches run in threads of two lanes: a short call, such as a question, does not wait behind a corpus that is being
embedded. Neither the tokenizer nor ONNX Runtime holds the interpreter while it computes.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from inference.encoding import TEXTS_PER_TASK, TextEncoder, is_short
from inference.minilm.artefact import MAX_TOKENS, Artefact, open_session, prepare, prove
from inference.model_repository.batching import cut_batches, pad

BULK_NICENESS = 10
T = TypeVar("T")


class OnnxEmbedder:
    """The embedder of the embedded profile: all-MiniLM-L6-v2 in eight bits.

    A text's vector does not depend on the texts beside it.

    Parameters
    ----------
    artefact : Artefact
        The converted model.
    workers : int, optional
        How many batches run at a time; by default one a processor this process may use. Short calls have one more.
    threads : int, default 1
        Threads within a batch. More of them shorten a single call and lower the throughput.
    batch_tokens : int, default 1024
        Upper bound for the tokens of a batch, padding included.

    Raises
    ------
    ConfigurationError
        If the model computes wrong vectors on this machine.
    """

    def __init__(
        self, artefact: Artefact, *, workers: int | None = None, threads: int = 1, batch_tokens: int = 1_024
    ) -> None:
        self.model = artefact.model
        self.dim = int(artefact.expected.shape[1])
        self.max_tokens = MAX_TOKENS
        self._batch_tokens = batch_tokens
        self._encoder = TextEncoder(artefact)
        self._session = open_session(artefact.graph, threads=threads)
        prove(self._session, self._encoder.tokenizer, artefact.expected)
        workers = workers or len(os.sched_getaffinity(0))
        self._bulk = ThreadPoolExecutor(workers, thread_name_prefix="embed-bulk", initializer=_yield_to_others)
        self._short = ThreadPoolExecutor(1, thread_name_prefix="embed-short")

    @classmethod
    def load(cls, cache: Path, *, workers: int | None = None, threads: int = 1) -> Self:
        """Open the packaged model, converting it first where the cache does not hold it; see `prepare`.

        Parameters
        ----------
        cache : Path
            Folder of converted models.
        workers, threads : int
            As for the class.
        """
        return cls(prepare(cache), workers=workers, threads=threads)

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts; what is beyond `max_tokens` of a text is not read.

        Returns
        -------
        numpy.ndarray
            Shape (len(texts), dim), float32, each row of L2 norm 1, in the order of the texts.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        lane = self._short if is_short(texts) else self._bulk
        loop = asyncio.get_running_loop()
        parts = [texts[start : start + TEXTS_PER_TASK] for start in range(0, len(texts), TEXTS_PER_TASK)]
        encoded = await _all([loop.run_in_executor(lane, self._encoder.encode, part) for part in parts])
        ids = [row for part in encoded for row in part]
        batches = cut_batches([len(row) for row in ids], self._batch_tokens)

        def run(batch: list[int]) -> None:
            vectors[batch] = self._run([ids[i] for i in batch])

        await _all([loop.run_in_executor(lane, run, batch) for batch in batches])
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the two that mark its ends included, without truncation."""
        return self._encoder.count(texts)

    def close(self) -> None:
        """Drop what waits, let what runs come to its end, and free the threads."""
        for lane in (self._short, self._bulk):
            lane.shutdown(wait=True, cancel_futures=True)

    def _run(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        ids, mask = pad(rows)
        vectors: npt.NDArray[np.float32] = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[
            0
        ]
        return vectors


def _yield_to_others() -> None:
    """Lower this thread's priority, so that short calls and the event loop run first where processors are short."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BULK_NICENESS)


async def _all(futures: Sequence["asyncio.Future[T]"]) -> list[T]:
    """Wait for all; when one fails or the caller is cancelled, what has not started is cancelled."""
    try:
        return await asyncio.gather(*futures)
    finally:
        for future in futures:
            future.cancel()
