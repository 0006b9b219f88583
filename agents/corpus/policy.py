"""What an operator may set about the corpus path, with defaults and reasons."""

from typing import Annotated

import msgspec


class CorpusPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `featurize`, `index` and `measure_statistics`; the same for every worker of a stack."""

    pipeline_generation: Annotated[
        int, "Generation of parser, splitter and model. Raise it when one of them changes: documents are indexed anew."
    ] = 0
    max_tokens: Annotated[
        int, "Tokens of the embedded text of a chunk, heading path included; the model reads no more."
    ] = 256
    max_heading_chars: Annotated[int, "Longer heading paths lose their front part."] = 160
    min_block_chars: Annotated[
        int, "Paragraphs from this length on are chunks of their own; shorter ones are joined."
    ] = 200
    max_document_bytes: Annotated[int, "Larger documents are rejected."] = 32 * 2**20
    max_chunks: Annotated[int, "Documents with more chunks are rejected."] = 50_000
    part_chunks: Annotated[int, "New chunks per ChunksEmbedded."] = 256
    embed_chunks: Annotated[int, "Chunks embedded in one call at most; bounds memory with large documents."] = 1_024
    background_bytes: Annotated[int, "Documents from this size on are parsed beside the event loop."] = 4_096
    batch_bytes: Annotated[int, "Documents of one batch are worked on in groups of at most this size."] = 64 * 2**20
    statistics_from_chunks: Annotated[int, "Term statistics are recorded for corpora from this size on."] = 2_000
    statistics_change: Annotated[
        float, "Share of chunks by which a corpus must have grown or shrunk to count it anew."
    ] = 0.25
    statistics_min_chunks: Annotated[int, "Terms in fewer chunks are left out of the record: they are read as 1."] = 2
