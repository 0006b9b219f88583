"""The servers of docker-compose.yml as processes of this machine: same entry points, variables, secrets, health checks.

What only an image holds stands where the launcher's installers have put it, and every address is one on loopback.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from infra.container_secrets import write_secrets
from infra.launch.ports import HOST
from infra.servers.server import Server
from infra.servers.triton import TritonParts
from tests.compose_file import ROOT, mounted, services

_IMAGES = ROOT / "infra" / "images"


class ComposeServer(Server):
    """A service as a process.

    `places` maps texts of the Compose file to what they are here: paths of the image, addresses of its network.
    """

    service: ClassVar[str]
    title = "service"

    def __init__(self, folder: Path, *, secrets: Path, places: Mapping[str, str], **options: Any) -> None:
        super().__init__(folder, **options)
        self.spec = services()[self.service]
        self._secrets = secrets
        self._places = dict(places)

    def here(self, text: str, ports: Mapping[str, int]) -> str:
        """The text with everything of the container replaced."""
        for there, local in {**self._places, **self._addresses(ports)}.items():
            text = text.replace(there, local)
        return text

    def _addresses(self, ports: Mapping[str, int]) -> dict[str, str]:
        raise NotImplementedError

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        for path, name in mounted(self.spec).items():
            if (local := self._places.get(path)) and local != str(self._secrets / name):
                Path(local).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self._secrets / name, local)
        return [self.here(each, ports) for each in self.spec["entrypoint"]]

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:
        return {name: self.here(str(value), ports) for name, value in self.spec.get("environment", {}).items()}

    def _ready(self, ports: Mapping[str, int]) -> bool:
        _, *check = self.spec["healthcheck"]["test"]
        environment = self._environment | dict(self._variables(ports))
        command = [self.here(each, ports) for each in check]
        return subprocess.run(command, check=False, capture_output=True, env=environment, timeout=10).returncode == 0


class ComposeKafka(ComposeServer):
    """The node, configured by the program that the image configures it with."""

    service, name = "kafka", "broker"
    port_names = ("clients", "outside", "controller")

    def __init__(self, folder: Path, *, jars: Path, java: str, **options: Any) -> None:
        programs, config = folder / "programs", folder / "config"
        places = {
            "/etc/kafka/docker/run": str(programs / "run"),
            "/var/lib/kafka/data": str(folder / "data"),
            "/mnt/shared/config/server.properties": str(config / "mounted" / "server.properties"),
        }
        super().__init__(folder, places=places, **options)
        for name in ("default", "mounted", "final"):
            (config / name).mkdir(parents=True)
        for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
            (config / "default" / name).touch()
        programs.mkdir()
        on_jars = f"{java} -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '{jars}/*'"
        folders = " ".join(f"--{name}-configs-dir {config / name}" for name in ("default", "mounted", "final"))
        # The image's own script passes over a folder that is formatted already, too.
        setup = f"{on_jars} kafka.docker.KafkaDockerWrapper setup {folders}"
        passed_over = 'grep -i "already formatted" <<< "$said" || { echo "$said"; exit 1; }'
        start = f"exec {on_jars} kafka.Kafka {config / 'final' / 'server.properties'}"
        (programs / "run").write_text(f"#!/bin/bash\nsaid=$({setup} 2>&1) || {passed_over}\n{start}\n")
        (programs / "run").chmod(0o700)

    def _addresses(self, ports: Mapping[str, int]) -> dict[str, str]:
        clients, outside, controller = (f"{HOST}:{ports[name]}" for name in self.port_names)
        return {
            "CLIENTS://0.0.0.0:9092": f"CLIENTS://{clients}",
            "OUTSIDE://0.0.0.0:19092": f"OUTSIDE://{outside}",
            "CLIENTS://kafka:9092": f"CLIENTS://{clients}",
            "OUTSIDE://127.0.0.1:9092": f"OUTSIDE://{outside}",
            "127.0.0.1:9093": controller,
            "/dev/tcp/127.0.0.1/9092": f"/dev/tcp/{HOST}/{ports['clients']}",
        }


class ComposeRegistry(ComposeServer):
    """The registry, by the script of its image."""

    service, name = "registry", "registry"
    port_names = ("http",)

    def __init__(self, folder: Path, *, program: Path, java: str, **options: Any) -> None:
        super().__init__(folder, places={"/opt/registry/": f"{_IMAGES}/"}, **options)
        self._program, self._java = program, java

    def _addresses(self, ports: Mapping[str, int]) -> dict[str, str]:
        return {"8080": str(ports["http"])}

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        return [str(_IMAGES / "registry" / "serve.sh")]

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:
        data = str(self._folder / "data")
        where = {"REGISTRY_HOST": HOST, "REGISTRY_PORT": str(ports["http"]), "REGISTRY_DATA": data}
        return {**where, "REGISTRY_HOME": str(self._program), "JAVA": self._java}


class ComposeWeaviate(ComposeServer):
    """The vector store; the ports that it uses by itself are chosen here, since others may run beside it."""

    service, name = "weaviate", "weaviate"
    port_names = ("rest", "grpc", "gossip", "data", "raft", "raft_rpc")

    def __init__(self, folder: Path, *, program: Path, secrets: Path, **options: Any) -> None:
        places = {
            "/run/secrets/weaviate.env": str(secrets / "weaviate.env"),
            "/bin/weaviate": str(program),
            "/var/lib/weaviate": str(folder / "data"),
        }
        super().__init__(folder, secrets=secrets, places=places, **options)

    def _addresses(self, ports: Mapping[str, int]) -> dict[str, str]:
        return {"--host 0.0.0.0": f"--host {HOST}", "8080": str(ports["rest"]), "50051": str(ports["grpc"])}

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:
        inner = {
            "CLUSTER_GOSSIP_BIND_PORT": ports["gossip"],
            "CLUSTER_DATA_BIND_PORT": ports["data"],
            "RAFT_PORT": ports["raft"],
            "RAFT_INTERNAL_RPC_PORT": ports["raft_rpc"],
        }
        return {**super()._variables(ports), **{name: str(port) for name, port in inner.items()}}


class ComposeConnect(ComposeServer):
    """Kafka Connect with the properties of its image."""

    service, name = "connect", "connect"
    port_names = ("rest",)

    def __init__(self, folder: Path, *, jars: Path, java: str, bootstrap: str, secrets: Path, **options: Any) -> None:
        places = {"/opt/connect/http_ready.sh": f"{_IMAGES}/http_ready.sh"}
        super().__init__(folder, places=places, secrets=secrets, **options)
        self._program = [java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        self._bootstrap = bootstrap

    def _addresses(self, ports: Mapping[str, int]) -> dict[str, str]:
        return {"8083": str(ports["rest"])}

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        text = (_IMAGES / "connect" / "worker.properties").read_text()
        there = {"http://0.0.0.0:8083": f"http://{HOST}:{ports['rest']}", "kafka:9092": self._bootstrap}
        there |= {"host.name=connect": f"host.name={HOST}", "/run/secrets": str(self._secrets)}
        for each, local in there.items():
            text = text.replace(each, local)
        (self._folder / "worker.properties").write_text(text)
        program = "org.apache.kafka.connect.cli.ConnectDistributed"
        return [*self._program, program, str(self._folder / "worker.properties")]


class ComposeTriton(ComposeServer):
    """The model server, by the script of its image."""

    service, name = "triton", "triton"
    port_names = ("grpc", "metrics")

    def __init__(self, folder: Path, *, parts: TritonParts, repository: Path, **options: Any) -> None:
        super().__init__(folder, places={"python3": sys.executable, "/opt/triton/": f"{_IMAGES}/triton/"}, **options)
        self._parts, self._repository = parts, repository

    def _addresses(self, ports: Mapping[str, int]) -> dict[str, str]:
        return {"8002": str(ports["metrics"])}

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        return [str(_IMAGES / "triton" / "serve.sh")]

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:
        return {
            "TRITON_SERVER": str(self._parts.program),
            "TRITON_BACKENDS": str(self._parts.backends),
            "TRITON_REPOSITORY": str(self._repository),
            "TRITON_KEY_FILE": str(self._secrets / "triton-key"),
            "TRITON_HOST": HOST,
            "TRITON_GRPC_PORT": str(ports["grpc"]),
            "TRITON_METRICS_PORT": str(ports["metrics"]),
            "LD_LIBRARY_PATH": str(self._parts.libraries),
        }


def drawn(folder: Path) -> Path:
    """A folder of secrets as ``python -m infra secrets`` makes it."""
    write_secrets(folder)
    return folder
