"""LlamaIndex: an ingestion pipeline of a splitter, an embedding and its LanceDB store. ``python -m`` runs it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import Document, TextNode, TransformComponent
from llama_index.vector_stores.lancedb import LanceDBVectorStore
from pydantic import PrivateAttr

from bench.peers.programs.corpus import Corpus, IngestJob, Page, job_from_input, timed

_EMBED_BATCH = 2048  # the most that it allows; the model cuts batches by tokens itself


class Split(TransformComponent):  # type: ignore[misc] # the peer is not installed where types are checked
    """Documents to nodes."""

    _corpus: Corpus = PrivateAttr()

    def __init__(self, corpus: Corpus) -> None:
        super().__init__()
        self._corpus = corpus

    def __call__(self, nodes: Sequence[Any], **_: Any) -> list[Any]:
        """Split each document."""
        return [
            TextNode(text=text, metadata={"page": page.id_}, excluded_embed_metadata_keys=["page"])
            for page in nodes
            for text in self._corpus.split(page.get_content())
        ]


class Embed(BaseEmbedding):  # type: ignore[misc]
    """Texts to vectors."""

    _corpus: Corpus = PrivateAttr()

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(embed_batch_size=_EMBED_BATCH)
        self._corpus = corpus

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._corpus.embed(texts).tolist()
        return found

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def run(job: IngestJob) -> None:
    """Ingest."""
    corpus = Corpus(job)
    uri = str(Path(job.folder) / "lancedb")

    def ingest(pages: Sequence[Page], table: str) -> int:
        store = LanceDBVectorStore(uri=uri, table_name=table)
        pipeline = IngestionPipeline(transformations=[Split(corpus), Embed(corpus)], vector_store=store)
        pipeline.run(documents=[Document(text=page.text, id_=page.id) for page in pages])
        return int(store.table.count_rows())

    timed(job, corpus, ingest)


if __name__ == "__main__":
    run(job_from_input())
    os._exit(0)  # threads of the model and the store have nothing left to do
