"""The production vector store: a Weaviate server, two collections, a tenant of theirs for each of ours.

`schema` says what the collections look like, `connection` how the server is reached and how its failures are told,
`collection` reads and writes rows of one tenant, `store` is the adapter of the port.
"""

from streams.stores.weaviate.connection import Address
from streams.stores.weaviate.store import WeaviateVectorStore

__all__ = ["Address", "WeaviateVectorStore"]
