"""Haystack: a pipeline of a splitter, an embedder and a writer into its LanceDB store. ``python -m`` runs it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from haystack import Document, Pipeline, component
from haystack.components.writers import DocumentWriter
from lancedb_haystack import LanceDBDocumentStore

from bench.peers.programs.corpus import Corpus, IngestJob, Page, job_from_input, timed

_DIM = 384


@component
class Split:
    """Documents to documents of one chunk each."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, documents: list[Document]) -> dict[str, list[Any]]:
        """Split each document."""
        pieces = [
            Document(content=text, meta={"page": page.id})
            for page in documents
            for text in self._corpus.split(page.content)
        ]
        return {"documents": pieces}


@component
class Embed:
    """Documents to the same ones with vectors."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, documents: list[Document]) -> dict[str, list[Any]]:
        """Embed all of them in one call."""
        vectors = self._corpus.embed([piece.content for piece in documents])
        for piece, vector in zip(documents, vectors.tolist(), strict=True):
            piece.embedding = vector
        return {"documents": documents}


def run(job: IngestJob) -> None:
    """Ingest."""
    corpus = Corpus(job)
    database = str(Path(job.folder) / "lancedb")
    schema = pa.struct([("page", pa.string())])

    def ingest(pages: Sequence[Page], table: str) -> int:
        store = LanceDBDocumentStore(database, table, metadata_schema=schema, embedding_dims=_DIM)
        pipeline = Pipeline()
        pipeline.add_component("split", Split(corpus))
        pipeline.add_component("embed", Embed(corpus))
        pipeline.add_component("write", DocumentWriter(store))
        pipeline.connect("split", "embed")
        pipeline.connect("embed", "write")
        pipeline.run({"split": {"documents": [Document(id=page.id, content=page.text) for page in pages]}})
        return int(store.count_documents())

    timed(job, corpus, ingest)


if __name__ == "__main__":
    run(job_from_input())
    os._exit(0)  # threads of the model and the store have nothing left to do
