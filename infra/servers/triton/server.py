"""One Triton server on loopback: gRPC for clients, metrics, and models that are loaded on request alone."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import grpc
import psutil
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from inference.triton import TritonConnection
from infra.launch.ports import HOST
from infra.servers.server import Server
from infra.servers.triton.install import TRITON_VERSION, TritonParts
from millrace.errors import Unavailable

_EXIT_TIMEOUT_S: Final = 10
_REGION_BYTES: Final = 16 * 2**20
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where the system keeps shared memory
_ASK_S: Final = 1.0
_PROTOCOLS: Final = (
    "metadata",
    "inference",
    "shared-memory",
    "model-config",
    "model-repository",
    "statistics",
    "trace",
    "logging",
)


class TritonServer(Server):
    """A Triton server; see `Server` for starting and ending it.

    Parameters
    ----------
    folder : Path
        Holds its log.
    parts : TritonParts
        The installed server.
    repository : Path
        Its model repository.
    models : sequence of str
        Models that are loaded when it starts; it is ready once all of them are.
    key : str
        What clients must show in a header; without one, whoever reaches it may use it. It stands on the server's
        command line, which other users of this machine can read.
    **options
        As for `Server`.
    """

    name = "triton"
    title = "Triton"
    version = TRITON_VERSION
    port_names: ClassVar[tuple[str, ...]] = ("grpc", "metrics")
    port_setting = "triton.port"
    grace_s = _EXIT_TIMEOUT_S + 10.0
    taken_signs = (*Server.taken_signs, "failed to start GRPC service", "failed to start Metrics service")

    def __init__(
        self,
        folder: Path,
        *,
        parts: TritonParts,
        repository: Path,
        models: Sequence[str],
        key: str = "",
        **options: Any,
    ) -> None:
        super().__init__(folder, **options)
        self._parts = parts
        self._repository = repository
        self._models = tuple(models)
        self._key = key

    def pending(self, model: str) -> int:
        """Requests that wait in a model's queue.

        Raises
        ------
        Unavailable
            Its metrics cannot be read.
        """
        name = "nv_inference_pending_request_count"
        try:
            with urllib.request.urlopen(f"http://{self.address('metrics')}/metrics", timeout=_ASK_S) as answer:
                lines = answer.read().decode().splitlines()
        except OSError as error:
            raise Unavailable(f"the metrics of Triton at {self.address('metrics')} cannot be read: {error}") from error
        found = [line for line in lines if line.startswith(f"{name}{{") and f'model="{model}"' in line]
        return round(sum(float(line.rpartition(" ")[2]) for line in found))

    def stop(self) -> None:
        """End it in order."""
        super().stop()
        remove_left(self._folder)

    def kill(self) -> None:
        """End it with SIGKILL, as a fault, and its model processes too, which may not notice."""
        super().kill()
        remove_left(self._folder)

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        remove_left(self._folder)
        return [
            str(self._parts.program),
            f"--model-repository={self._repository}",
            f"--backend-directory={self._parts.backends}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in self._models),
            "--disable-auto-complete-config",
            "--allow-http=false",
            f"--grpc-address={HOST}",
            f"--grpc-port={ports['grpc']}",
            f"--metrics-address={HOST}",
            f"--metrics-port={ports['metrics']}",
            "--allow-gpu-metrics=false",
            f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
            *self._restrictions(),
            f"--backend-config=python,shm-default-byte-size={_REGION_BYTES}",
            f"--backend-config=python,shm-region-prefix-name={region_prefix(self._folder)}",
        ]

    def _restrictions(self) -> Sequence[str]:
        """What only clients with the key may do: everything but asking for its health."""
        if not self._key:
            return ()
        return (f"--grpc-restricted-protocol={','.join(_PROTOCOLS)}:{TritonConnection.KEY_NAME}={self._key}",)

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:  # noqa: ARG002 - the signature of `Server`
        return {"LD_LIBRARY_PATH": str(self._parts.libraries)}

    def _ready(self, ports: Mapping[str, int]) -> bool:
        try:
            with InferenceServerClient(f"{HOST}:{ports['grpc']}") as client:
                ready = bool(client.is_server_ready(client_timeout=_ASK_S))
            socket.create_connection((HOST, ports["metrics"]), timeout=_ASK_S).close()
        except (InferenceServerException, grpc.RpcError, OSError):
            return False
        return ready


def region_prefix(folder: Path) -> str:
    """How the shared memory of a server is named: the same in each life of its folder, and as no other server's."""
    return f"millrace-triton-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]}-"


def remove_left(folder: Path) -> None:
    """End model processes that have outlived the server of a folder, and free shared memory of killed ones.

    Parameters
    ----------
    folder : Path
        As `TritonServer` got it; no server may be running there.
    """
    prefix = region_prefix(folder)
    for process in psutil.process_iter(["cmdline"]):
        if any(argument.startswith(prefix) for argument in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    for region in _SHARED_MEMORY.glob(f"*{prefix}*"):
        region.unlink(missing_ok=True)
