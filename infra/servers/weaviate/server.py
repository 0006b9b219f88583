"""One Weaviate node: its environment, its ports, its users, its process.

The node keeps its data in its folder, so it may be ended, even killed, and started again, on the same ports or others.
It has no setting for the interface of its gRPC port and of the port for its cluster's data: both listen on every
interface, so both ask for a key or a password.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx

from infra.launch.ports import HOST
from infra.servers.server import Server
from infra.servers.weaviate.access import ADMIN, Keys, grant_roles
from infra.servers.weaviate.install import WEAVIATE_VERSION
from millrace.errors import Unavailable


class WeaviateServer(Server):
    """A single Weaviate node with API keys and roles; anonymous access and telemetry are off.

    Parameters
    ----------
    folder : Path
        Holds the node's log and data; created if missing.
    program : Path
        What `install_weaviate` returned.
    environment : mapping of str to str
        Environment of the process.
    keys : Keys
        Its API keys; the same at each start.
    collections : sequence of str
        Names of the collections that its users may touch, and no others.
    memory_mb : int
        What its heap may take before it collects garbage harder, in MiB.
    port, grpc_port : int, optional
        Where it listens for REST and gRPC; chosen when missing, and kept for the life of this object.
    options
        As of `Server`.
    """

    name: ClassVar[str] = "weaviate"
    title: ClassVar[str] = "Weaviate"
    version = WEAVIATE_VERSION
    port_names: ClassVar[tuple[str, ...]] = ("rest", "grpc", "gossip", "data", "raft", "raft_rpc")
    inner_ports: ClassVar[tuple[str, ...]] = ("gossip", "data", "raft", "raft_rpc")
    port_setting: ClassVar[str] = "weaviate.port"

    def __init__(
        self,
        folder: Path,
        *,
        program: Path,
        environment: Mapping[str, str],
        keys: Keys,
        collections: Sequence[str],
        memory_mb: int = 2048,
        port: int | None = None,
        grpc_port: int | None = None,
        **options: Any,
    ) -> None:
        fixed = {name: number for name, number in (("rest", port), ("grpc", grpc_port)) if number}
        super().__init__(folder, environment=environment, ports=fixed, **options)
        self._program = program
        self._keys = keys
        self._collections = tuple(collections)
        self._memory_mb = memory_mb

    @property
    def url(self) -> str:
        """Of its REST interface."""
        return f"http://{self.address('rest')}"

    @property
    def grpc(self) -> str:
        """Of its gRPC interface, ``host:port``."""
        return self.address("grpc")

    def start(self) -> Self:
        """Start it, wait until it serves, and give its users their roles.

        Raises
        ------
        Unavailable
            It ended at once, was not ready in time, or did not take the roles.
        """
        from weaviate.exceptions import WeaviateBaseError

        super().start()
        try:
            grant_roles(self.url, self.grpc, self._keys.admin, self._collections)
        except BaseException as error:
            self.kill()
            if isinstance(error, WeaviateBaseError):
                raise Unavailable(f"{self.title} did not take its users' roles: {error}; see {self.log}") from error
            raise
        return self

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        return [str(self._program), "--scheme", "http", "--host", HOST, "--port", str(ports["rest"])]

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:
        users = self._keys.by_user()
        return {
            "PERSISTENCE_DATA_PATH": str((self._folder / "data").absolute()),
            "DEFAULT_VECTORIZER_MODULE": "none",
            "ENABLE_MODULES": "",
            "API_BASED_MODULES_DISABLED": "true",
            "AUTOSCHEMA_ENABLED": "false",
            "DISABLE_TELEMETRY": "true",
            "GO_PROFILING_DISABLE": "true",  # its port is fixed, and open to everyone
            "GOMEMLIMIT": f"{self._memory_mb}MiB",
            "LOG_LEVEL": "warning",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_USERS": ",".join(users),
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": ",".join(users.values()),
            "AUTHORIZATION_RBAC_ENABLED": "true",
            "AUTHORIZATION_RBAC_ROOT_USERS": ADMIN,
            "CLUSTER_HOSTNAME": "millrace",
            "CLUSTER_BIND_ADDR": HOST,
            "CLUSTER_ADVERTISE_ADDR": HOST,
            "CLUSTER_BASIC_AUTH_USERNAME": "millrace",
            "CLUSTER_BASIC_AUTH_PASSWORD": self._keys.cluster,
            "CLUSTER_GOSSIP_BIND_PORT": str(ports["gossip"]),
            "CLUSTER_DATA_BIND_PORT": str(ports["data"]),
            "RAFT_PORT": str(ports["raft"]),
            "RAFT_INTERNAL_RPC_PORT": str(ports["raft_rpc"]),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "RAFT_TIMEOUTS_MULTIPLIER": "1",  # alone, it has nobody to wait for before it elects itself
            "RAFT_ENABLE_ONE_NODE_RECOVERY": "true",  # its inner ports change from start to start
            "GRPC_PORT": str(ports["grpc"]),
        }

    def _ready(self, ports: Mapping[str, int]) -> bool:
        try:
            probe = httpx.get(f"http://{HOST}:{ports['rest']}/v1/.well-known/ready", timeout=1.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return probe.is_success
