"""A stack of real servers, each of which may be killed: Kafka, schema registry and Weaviate, by the launcher."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import weaviate
from weaviate.classes.init import Auth
from weaviate.collections import Collection as Shard

from infra.launch.registry import registry_access
from infra.launch.stack import Stack
from infra.launch.up import down, up
from infra.launch.vector_store import keys_file
from infra.servers.kafka import KafkaServer
from infra.servers.weaviate import Keys
from infra.servers.weaviate.access import grant_roles
from infra.settings import Loaded, Settings, load
from millrace.codec import Codec
from millrace.registered import Registered
from millrace.registry import Registry
from streams.stores.collection_names import collection_names
from tests.faults.harness import CORPUS_GROUPS, FaultStack, kafka_node
from tests.faults.log_access import lag
from tests.faults.oracle import Row

MOST_SEARCHED = 2000
COLLECTION = "Millrace"
SETTINGS: dict[str, Any] = {
    "models": {"embedder": "hashing"},
    "registry": {"timeout_s": 20.0},
    "worker": {"count": 0},
}


class NativeStack(FaultStack):
    """Workers of a test on real servers; one that was killed is started again by `mend`, where it was."""

    def __init__(self, home: Path, loaded: Loaded, stack: Stack, node: KafkaServer) -> None:
        super().__init__("native", home, loaded, stack, node)
        registered = Registered(Registry(registry_access(loaded.settings, stack.registry)))
        registered.warm()
        self.codec = Codec(ids=registered.id_of, writers=registered.schema)

    @property
    def settings(self) -> Settings:
        """Of the stack."""
        return self._loaded.settings

    @property
    def registry(self) -> str:
        """Where the schema registry is."""
        return self._stack.registry

    def behind(self) -> bool:
        """Whether the documents' workers have records to read."""
        return bool(lag(self.bootstrap, CORPUS_GROUPS))

    def kill(self, server: str) -> None:
        """SIGKILL a server, by its name in ``stack.json``; returns when it is gone."""
        next(record for record in self._stack.processes if record.name == server).kill()

    def mend(self) -> None:
        """Start what was killed, as a user would: with another ``up``."""
        self._stack = up(self._loaded).stack

    def address(self, server: str, port: str) -> str:
        """``host:port`` of a server."""
        return self._stack.address(server, port)

    def another_index(self, tag: str) -> tuple[str, dict[str, Any]]:
        """Collections that the worker's key may write as well, until the server is started again."""
        name = f"Millrace{tag.title()}"
        keys = Keys.kept_in(keys_file(self.settings))
        url, grpc = f"http://{self.address('weaviate', 'rest')}", self.address("weaviate", "grpc")
        grant_roles(url, grpc, keys.admin, [*collection_names(COLLECTION), *collection_names(name)])
        return name, {"weaviate__collection": name}

    def rows(self, tenants: Sequence[str] | frozenset[str], folder: str = COLLECTION) -> list[Row]:
        """Full scan of two collections by the server's own client, as its administrator.

        Whether a search by its own vector finds a row is asked of every live one, of so many in a large index.
        """
        with self.client() as client:
            return [
                row
                for tenant, shard, archived in _shards(client, tenants, folder)
                for row in _rows(shard, tenant, archived=archived)
            ]

    def chunk_ids(self, tenants: Collection[str]) -> set[str]:
        """Ids of all live rows, quickly."""
        with self.client() as client:
            shards = [shard for _, shard, archived in _shards(client, tenants, COLLECTION) if not archived]
            return {str(each.uuid) for shard in shards for each in shard.iterator(return_properties=[])}

    @contextlib.contextmanager
    def client(self) -> Iterator[weaviate.WeaviateClient]:
        """The server's own client, as its administrator."""
        rest, grpc = (urlsplit(f"//{self.address('weaviate', port)}") for port in ("rest", "grpc"))
        with weaviate.connect_to_custom(
            http_host=rest.hostname or "",
            http_port=rest.port or 0,
            http_secure=False,
            grpc_host=grpc.hostname or "",
            grpc_port=grpc.port or 0,
            grpc_secure=False,
            auth_credentials=Auth.api_key(Keys.kept_in(keys_file(self._loaded.settings)).admin),
            skip_init_checks=True,
        ) as client:
            yield client


def _shards(
    client: weaviate.WeaviateClient, tenants: Collection[str], name: str
) -> Iterator[tuple[str, Shard[Any, Any], bool]]:
    """Tenant, rows, and whether they are archived."""
    for part in ("Live", "Archive"):
        if client.collections.exists(f"{name}{part}"):
            collection = client.collections.use(f"{name}{part}")
            for stored in sorted(collection.tenants.get()):
                tenant = next((each for each in tenants if stored.startswith(each.replace("-", "_"))), None)
                if tenant is not None:
                    yield tenant, collection.with_tenant(stored), part == "Archive"


def _rows(shard: Shard[Any, Any], tenant: str, *, archived: bool) -> list[Row]:
    found = []
    for number, each in enumerate(shard.iterator(include_vector=True, return_properties=["document", "text"])):
        [vector] = [np.asarray(values, dtype=np.float64) for values in each.vector.values()]
        reached = archived or number >= MOST_SEARCHED or _reached(shard, str(each.uuid), vector)
        properties = each.properties
        found.append(Row(tenant, properties["document"], str(each.uuid), properties["text"], archived, reached))
    return found


def _reached(shard: Shard[Any, Any], chunk_id: str, vector: np.ndarray) -> bool:
    """Whether the nearest row is this one, or one as near."""
    nearest = shard.query.near_vector(vector.tolist(), limit=1, include_vector=True, return_properties=[]).objects
    if not nearest:
        return False
    [other] = [np.asarray(values, dtype=np.float64) for values in nearest[0].vector.values()]
    return str(nearest[0].uuid) == chunk_id or bool(other @ vector >= vector @ vector - 1e-5)


@contextlib.contextmanager
def native_stack(folder: Path, *, jars: Path, java: str) -> Iterator[NativeStack]:
    """A stack of real servers; embeddings are hashed, so no model server runs."""
    with kafka_node(folder, jars=jars, java=java) as (node, _):
        home = folder / "home"
        loaded = load({"home": str(home), "profile": "native", "bootstrap": node.bootstrap, **SETTINGS})
        stack = NativeStack(home, loaded, up(loaded).stack, node)
        try:
            yield stack
        finally:
            stack.end_workers()
            down(loaded.settings)
