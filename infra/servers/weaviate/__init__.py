"""Weaviate as one node on this machine: built by Go, with API keys and roles, no containers."""

from infra.servers.weaviate.access import Keys
from infra.servers.weaviate.install import WEAVIATE_VERSION, install_weaviate
from infra.servers.weaviate.server import WeaviateServer

__all__ = ["WEAVIATE_VERSION", "Keys", "WeaviateServer", "install_weaviate"]
