"""What the collections look like, and whether those on the server do.

Ids are matched as they are: no property but the text goes through a tokenizer. Even tokenized as one field, Weaviate
trims white space, so a document is found by a UUID made of its name.
"""

from __future__ import annotations

import uuid
from typing import Final

from weaviate import WeaviateAsyncClient
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    StopwordsPreset,
    Tokenization,
    VectorDistances,
)
from weaviate.collections.classes.config import CollectionConfig
from weaviate.exceptions import UnexpectedStatusCodeError

from millrace.errors import ConfigurationError

VECTOR: Final = "text"
ROW_PROPERTIES: Final = ("document", "content_hash", "text", "sentences", "sentence_vectors")

# A search with a filter compares every row that the filter leaves, however many; without one the HNSW graph is walked.
_COMPARE_UP_TO: Final = 2**31 - 1
# Nothing fills an empty collection from the log.
_REMEDY: Final = (
    "name another `weaviate.collection`; where documents are indexed already, with another home folder (--home), into "
    "which they are ingested anew"
)
_DOCUMENTS: Final = uuid.UUID("6d0c4a52-6f0e-5d0c-9a63-1f0f2f9d8f0b")


def document_key(document: str) -> str:
    """Name of a document as filters see it."""
    return str(uuid.uuid5(_DOCUMENTS, document))


async def create(client: WeaviateAsyncClient, name: str, replicas: int) -> None:
    """Create a collection of chunk rows, unless it exists."""
    if await client.collections.exists(name):
        return
    try:
        await client.collections.create(
            name,
            description="Chunk rows of Millrace",
            properties=_properties(),
            inverted_index_config=Configure.inverted_index(stopwords_preset=StopwordsPreset.EN),
            multi_tenancy_config=Configure.multi_tenancy(enabled=True, auto_tenant_creation=False),
            replication_config=Configure.replication(factor=replicas),
            vector_config=Configure.Vectors.self_provided(
                name=VECTOR,
                vector_index_config=Configure.VectorIndex.hnsw(
                    distance_metric=VectorDistances.DOT, flat_search_cutoff=_COMPARE_UP_TO
                ),
                quantizer=Configure.VectorIndex.Quantizer.none(),  # a server's own default rounds the vectors
            ),
        )
    except UnexpectedStatusCodeError as error:
        if "already exists" not in str(error):  # another process was first
            raise


def check(name: str, config: CollectionConfig) -> None:
    """Refuse a collection whose ids would be tokenized, or whose vectors would be changed.

    Raises
    ------
    ConfigurationError
        Naming the property and what was found.
    """
    found = {each.name: each for each in config.properties}
    for wanted in _properties():
        there = found.get(wanted.name)
        shape = (there.data_type, there.tokenization, there.index_filterable, there.index_searchable) if there else None
        expected = (wanted.dataType, wanted.tokenization, wanted.indexFilterable, bool(wanted.indexSearchable))
        if shape != expected:
            raise ConfigurationError(
                f"property {wanted.name!r} of Weaviate's collection {name} is {shape}, expected {expected} (type, "
                f"tokenization, filterable, searchable): {_REMEDY}"
            )
    vector = (config.vector_config or {}).get(VECTOR)
    index = vector.vector_index_config if vector is not None else None
    distance = getattr(index, "distance_metric", None)
    quantizer = getattr(index, "quantizer", None)
    if not config.multi_tenancy_config.enabled or distance != VectorDistances.DOT or quantizer is not None:
        raise ConfigurationError(
            f"Weaviate's collection {name} has tenants {config.multi_tenancy_config.enabled}, distance {distance} and "
            f"quantizer {quantizer}, expected True, dot and None: {_REMEDY}"
        )


def _properties() -> list[Property]:
    return [
        Property(name="document_key", data_type=DataType.UUID, index_filterable=True),
        _kept("document", DataType.TEXT),
        _kept("content_hash", DataType.TEXT),
        Property(
            name="text",
            data_type=DataType.TEXT,
            tokenization=Tokenization.WORD,
            index_filterable=False,
            index_searchable=True,
        ),
        _kept("sentences", DataType.BLOB),
        _kept("sentence_vectors", DataType.BLOB),
    ]


def _kept(name: str, data_type: DataType) -> Property:
    """A property that is stored and handed back, and in no index."""
    if data_type is not DataType.TEXT:
        return Property(name=name, data_type=data_type, index_filterable=False)
    return Property(
        name=name, data_type=data_type, tokenization=Tokenization.FIELD, index_filterable=False, index_searchable=False
    )
