"""What every ingest pipeline is given: documents, splitter and model; the pipeline and its store are its own.

The splitter is Millrace's (`agents.corpus.chunk`), the model its MiniLM in int8 (`inference.embedder`): both are plain
Python that a peer's environment can import.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from agents.corpus.chunk import chunk
from agents.corpus.parse import parse
from agents.corpus.policy import CorpusPolicy
from agents.corpus.sentences import sentences
from inference.embedder import OnnxEmbedder


class Page(msgspec.Struct, frozen=True):
    """A document."""

    id: str
    text: str


class IngestJob(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingest pipeline is told.

    Attributes
    ----------
    pages, warm_up : tuple of Page
        What is ingested, and what is ingested before the time is taken.
    folder, models : str
        Folder for the store, and of the converted model.
    with_sentences : bool
        Whether each sentence is embedded as well, as Millrace does, so that the model has the same to do.
    """

    pages: tuple[Page, ...]
    warm_up: tuple[Page, ...]
    folder: str
    models: str
    with_sentences: bool


class Ingested(msgspec.Struct, frozen=True):
    """What came of it: seconds from the documents to the last row, chunks in the store, texts the model was given."""

    seconds: float
    n_chunks: int
    n_texts: int


Ingest = Callable[[Sequence[Page], str], int]


class Corpus:
    """The splitter and the model of one process.

    Parameters
    ----------
    job : IngestJob
        What to do.
    """

    def __init__(self, job: IngestJob) -> None:
        self._embedder = OnnxEmbedder.load(Path(job.models))
        self._with_sentences = job.with_sentences
        self.n_texts = 0

    def split(self, text: str) -> list[str]:
        """Texts of the chunks of a Markdown document."""
        parsed = parse(text.encode(), "text/markdown")
        return [each.embedded for each in chunk(parsed, CorpusPolicy(), self._embedder.count_tokens)]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """A vector of L2 norm 1 for each text; shape (len(texts), 384)."""
        given = list(texts)
        if self._with_sentences:
            spoken = dict.fromkeys(text[start:end] for text in texts for start, end in sentences(text))
            given += [text for text in spoken if text not in set(texts)]
        self.n_texts += len(given)
        return asyncio.run(self._embedder.embed(given))[: len(texts)]


def timed(job: IngestJob, corpus: Corpus, ingest: Ingest) -> None:
    """Ingest the warm-up, then the pages, and print what came of it.

    Parameters
    ----------
    ingest : callable
        ``ingest(pages, table)`` gives the number of rows that are in the table afterwards.
    """
    ingest(job.warm_up, "warm_up")
    corpus.n_texts = 0
    began = time.perf_counter()
    n_chunks = ingest(job.pages, "pages")
    seconds = time.perf_counter() - began
    os.write(1, msgspec.json.encode(Ingested(seconds, n_chunks, corpus.n_texts)) + b"\n")


def job_from_input() -> IngestJob:
    """The job, read from standard input."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=IngestJob)
