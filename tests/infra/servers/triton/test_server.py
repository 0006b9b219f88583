"""The Triton server listens on loopback alone, keeps its ports, ends in order and leaves nothing behind."""

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
from tritonclient.grpc import InferenceServerClient

from infra.servers.triton import TritonParts, TritonServer
from infra.servers.triton.server import region_prefix
from millrace.errors import Unavailable
from tests.conditions import wait_until
from tests.tritons import StartTriton, model_processes

CONFIG = """\
name: "echo"
backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
instance_group { kind: KIND_CPU }
"""
MODEL = """\
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        return [triton.InferenceResponse([triton.get_input_tensor_by_name(each, "x")]) for each in requests]
"""
REGIONS = Path("/dev/shm")  # noqa: S108 - where the system keeps shared memory


@pytest.fixture
def repository(tmp_path: Path, triton_parts: TritonParts) -> Path:
    """A model that needs nothing but numpy."""
    version = tmp_path / "repository" / "echo" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    environment = triton_parts.environment
    parameter = f'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "{environment}" }} }}\n'
    (version.parent / "config.pbtxt").write_text(CONFIG + parameter)
    return tmp_path / "repository"


def regions(server: TritonServer) -> list[Path]:
    return list(REGIONS.glob(f"*{region_prefix(server._folder)}*"))


def test_it_listens_on_loopback_alone_and_keeps_its_ports(start_triton: StartTriton, repository: Path) -> None:
    server = start_triton(repository, ["echo"])
    ports = dict(server.ports)
    listening = [each.laddr for each in psutil.Process(server.process.pid).net_connections() if each.status == "LISTEN"]
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == set(ports.values())
    assert server.pending("echo") == 0
    server.stop()
    assert server.start().ports == ports
    with InferenceServerClient(server.address("grpc")) as client:
        assert client.is_model_ready("echo")


def test_nothing_is_left_of_its_processes_and_their_shared_memory(start_triton: StartTriton, repository: Path) -> None:
    server = start_triton(repository, ["echo"])
    (model,) = model_processes(server, "echo")
    os.kill(model.pid, signal.SIGKILL)
    assert regions(server)
    server.stop()
    assert not regions(server)
    server.start()
    (model,) = model_processes(server, "echo")
    server.kill()
    wait_until(lambda: not model.is_running() or model.status() == psutil.STATUS_ZOMBIE)
    assert not regions(server)


def test_model_processes_that_outlive_a_server_are_ended_by_the_next_start(
    start_triton: StartTriton, repository: Path
) -> None:
    server = start_triton(repository, ["echo"])
    (model,) = model_processes(server, "echo")
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not server.process.alive)
    again = server.start()
    wait_until(lambda: not model.is_running() or model.status() == psutil.STATUS_ZOMBIE)
    with InferenceServerClient(again.address("grpc")) as client:
        assert client.is_model_ready("echo")


def test_what_a_killed_life_left_is_removed_at_the_next_start(start_triton: StartTriton, repository: Path) -> None:
    server = start_triton(repository, ["echo"])
    server.stop()
    left = REGIONS / f"{region_prefix(server._folder)}left"
    foreign = REGIONS / "millrace-triton-0123456789ab-of-another"
    for region in (left, foreign):
        region.write_bytes(b"x")
    try:
        server.start()
        assert not left.exists()
        assert foreign.exists()
    finally:
        foreign.unlink()


def test_a_model_that_cannot_be_loaded_ends_the_start_with_the_log(start_triton: StartTriton, repository: Path) -> None:
    (repository / "echo" / "1" / "model.py").write_text("raise RuntimeError('no weights')")
    with pytest.raises(Unavailable, match=r"(?s)was not ready.*its log.*model\.py\(1\)"):
        start_triton(repository, ["echo"])


def test_a_pinned_port_that_is_taken_is_named_with_the_remedy(start_triton: StartTriton, repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"(?s)cannot listen on port {port}.*triton\.port"):
            start_triton(repository, ["echo"], ports={"grpc": port})
