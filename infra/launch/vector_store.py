"""The vector store of a stack: one Weaviate node with keys of its own, and how workers reach it or the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from infra.launch.servers import MakeServer, Part
from infra.launch.stack import Stack
from infra.servers.server import serves
from infra.servers.weaviate import Keys, WeaviateServer, install_weaviate
from infra.settings import Settings, process_environment
from millrace.errors import ConfigurationError
from streams.stores.collection_names import collection_names

NAME: Final = WeaviateServer.name


class VectorStoreAccess(NamedTuple):
    """Where the server is and who we are to it; holds a key in clear, so it is for a client and for nothing else."""

    url: str
    grpc: str
    api_key: str


def vector_store_access(settings: Settings, stack: Stack) -> VectorStoreAccess:
    """How a worker reaches the server that the settings name, or the one of the stack.

    Raises
    ------
    ConfigurationError
        There is neither.
    """
    chosen = settings.weaviate
    if chosen.url:
        return VectorStoreAccess(chosen.url, chosen.grpc, chosen.api_key.get_secret_value())
    rest = stack.address(NAME, "rest")
    if not rest:
        raise ConfigurationError(
            "stores.kind is 'weaviate', but no server runs here and none is named; set weaviate.url and weaviate.grpc, "
            "start one with `python -m infra up --profile native`, or set stores.kind to 'lance'"
        )
    key = chosen.api_key.get_secret_value() or Keys.kept_in(keys_file(settings)).worker
    return VectorStoreAccess(f"http://{rest}", stack.address(NAME, "grpc"), key)


def keys_file(settings: Settings) -> Path:
    """File with the keys of the stack's server, for the owner of the home folder alone."""
    return settings.home / "weaviate-keys.json"


def _install(settings: Settings, progress: Callable[[str], None]) -> Path:
    return install_weaviate(settings.cache, settings.weaviate.go, progress)


def _make(settings: Settings, bootstrap: str, program: Path) -> MakeServer:  # noqa: ARG001 - given to all
    weaviate = settings.weaviate
    return lambda folder, ports, note: WeaviateServer(
        folder,
        program=program,
        environment=process_environment(),
        keys=Keys.kept_in(keys_file(settings)),
        collections=collection_names(weaviate.collection),
        memory_mb=weaviate.memory_mb,
        port=weaviate.port or (ports or {}).get("rest"),
        grpc_port=weaviate.grpc_port or (ports or {}).get("grpc"),
        timeout_s=weaviate.start_timeout_s,
        on_spawn=note,
    )


def _unwell(settings: Settings, stack: Stack) -> str:  # noqa: ARG001 - what every part is asked with
    well = serves(stack.ports.get(NAME, {}).get("rest", 0), "/v1/.well-known/ready")
    return "" if well else "does not say that it is ready"


PART: Final = Part(WeaviateServer, _install, _make, _unwell)
