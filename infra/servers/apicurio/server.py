"""Apicurio Registry as a process: its content in an H2 file, so that a schema keeps its id over restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from infra.launch.ports import HOST
from infra.servers.apicurio.install import APICURIO_VERSION
from infra.servers.java import java_command
from infra.servers.server import Server, serves

_API: Final = "/apis/ccompat/v7"
_READY: Final = "/health/ready"
# The release reserves 20 to 100 database connections for a server that many share; one machine needs a few.
_PROPERTIES: Final = {
    "quarkus.http.host": HOST,
    "quarkus.datasource.jdbc.initial-size": "2",
    "quarkus.datasource.jdbc.min-size": "1",
    "quarkus.datasource.jdbc.max-size": "10",
    "quarkus.log.level": "WARN",
    'quarkus.log.category."io.apicurio".level': "WARN",
}


def url_of(address: str) -> str:
    """The Confluent-compatible interface of the registry at ``host:port``."""
    return f"http://{address}{_API}"


class ApicurioServer(Server):
    """Apicurio Registry, listening on loopback.

    Parameters
    ----------
    folder : Path
        Holds its log and its database; created if missing.
    program : Path
        What `install_apicurio` returned.
    environment : mapping of str to str
        Environment of the Java process.
    java : str
        Java 17 or newer.
    port : int, optional
        Where it listens; chosen when missing, and kept for the life of this object.
    heap_mb : int
        Java heap in MiB.
    options
        As of `Server`.
    """

    name: ClassVar[str] = "registry"
    title: ClassVar[str] = "Apicurio Registry"
    version = APICURIO_VERSION
    port_names: ClassVar[tuple[str, ...]] = ("http",)
    port_setting: ClassVar[str] = "registry.port"
    taken_signs: ClassVar[tuple[str, ...]] = (*Server.taken_signs, "Port already bound", "seems to be in use")

    def __init__(
        self,
        folder: Path,
        *,
        program: Path,
        environment: Mapping[str, str],
        java: str = "java",
        port: int | None = None,
        heap_mb: int = 256,
        **options: Any,
    ) -> None:
        super().__init__(folder, environment=environment, ports={"http": port} if port else None, **options)
        self._java = java_command(java, heap_mb, busy=False)
        self._program = program

    @property
    def url(self) -> str:
        """Its Confluent-compatible interface."""
        return url_of(self.address("http"))

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        [runner] = self._program.glob("*-runner.jar")
        database = (self._folder / "data" / "registry").absolute()
        # H2 would put a commit off for half a second, which a kill would take with it.
        properties = {
            **_PROPERTIES,
            "quarkus.http.port": str(ports["http"]),
            "quarkus.datasource.jdbc.url": f"jdbc:h2:file:{database};WRITE_DELAY=0",
        }
        return [*self._java, *(f"-D{name}={value}" for name, value in properties.items()), "-jar", str(runner)]

    def _ready(self, ports: Mapping[str, int]) -> bool:
        return serves(ports["http"], _READY)
