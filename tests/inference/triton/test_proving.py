"""What `status` says of a model server is what its models do, not what the server says of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient

from infra.launch import model_server
from infra.launch.stack import Stack
from infra.servers.triton import TritonServer
from infra.settings import Settings, load
from tests.inference.triton.serving import kill_model
from tests.tritons import StartTriton, closed


def unwell(server: TritonServer) -> str:
    ports = {model_server.NAME: server.ports}
    stack = Stack("native", "127.0.0.1:1", "e", objects="", home="", started_at="", ports=ports)
    return model_server.PART.unwell(Settings(cache=load().settings.cache), stack)


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
def test_a_dead_model_is_noticed_although_the_server_calls_it_ready(
    server: TritonServer, names: dict[str, str], lane: str
) -> None:
    assert unwell(server) == ""
    kill_model(server, names[lane])
    for _ in range(2):  # to look at it mends nothing
        assert names[lane] in unwell(server)
    with InferenceServerClient(server.address("grpc")) as client:
        assert client.is_model_ready(names[lane])


def test_a_model_that_hangs_is_noticed_in_time(
    gated: Callable[..., Path], start_triton: StartTriton, names: dict[str, str]
) -> None:
    repository = gated()
    server = start_triton(repository, list(names.values()))
    with closed(repository, names["bulk"]):
        assert "DEADLINE_EXCEEDED" in unwell(server)
    assert unwell(server) == ""


def test_a_server_that_is_gone_is_noticed(server: TritonServer) -> None:
    server.kill()
    assert "UNAVAILABLE" in unwell(server)
