"""Settings choose the embedder, and say what is missing before anything is started."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.embedder import OnnxEmbedder
from inference.hashing import HashingEmbedder
from inference.minilm.artefact import PROBES
from inference.triton import TritonEmbedder
from infra.embedders import open_embedder, serving_policy, triton_options
from infra.launch.model_server import PART
from infra.launch.processes import ProcessRecord
from infra.servers.triton import TritonParts
from infra.settings import Settings, TritonSettings, load
from millrace.errors import ConfigurationError, Unavailable


def settings(home: Path, **groups: Any) -> Settings:
    return Settings(home=home, cache=load().settings.cache, **groups)


async def test_the_hashing_embedder_needs_nothing(tmp_path: Path) -> None:
    async with open_embedder(settings(tmp_path, models={"embedder": "hashing"})) as embedder:
        assert isinstance(embedder, HashingEmbedder)


async def test_the_model_runs_in_this_process_by_default(tmp_path: Path) -> None:
    async with open_embedder(settings(tmp_path)) as embedder:
        assert isinstance(embedder, OnnxEmbedder)


async def test_the_model_runs_behind_the_launchers_server_by_setting(tmp_path: Path, triton_parts: TritonParts) -> None:
    group = {"instances": 1, "key": "secret"}
    chosen = settings(tmp_path, models={"server": "triton"}, triton=group)
    noted: list[ProcessRecord] = []
    server = PART.make(chosen, "", PART.install(chosen, lambda _: None))(
        tmp_path / PART.name, None, noted.append
    ).start()
    try:
        assert noted == [server.process]
        async with open_embedder(chosen, server.address("grpc")) as embedder:
            assert isinstance(embedder, TritonEmbedder)
            vectors = await embedder.embed(PROBES)
        named = settings(tmp_path, models={"server": "triton"}, triton={**group, "address": server.address("grpc")})
        async with open_embedder(named, "127.0.0.1:1") as embedder:
            np.testing.assert_allclose(await embedder.embed(PROBES), vectors, atol=1e-3)
    finally:
        server.stop()
    assert {path.name for path in (tmp_path / "triton").iterdir()} == {"repository", "server.log"}


async def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    chosen = settings(tmp_path, models={"server": "triton"}, triton={"address": "127.0.0.1:1"})
    with pytest.raises(Unavailable, match=r"Triton at 127\.0\.0\.1:1"):
        async with open_embedder(chosen):
            pass


async def test_a_server_that_is_nowhere_named_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"set triton\.address"):
        async with open_embedder(settings(tmp_path, models={"server": "triton"})):
            pass


def test_settings_reach_the_adapter_and_the_server() -> None:
    chosen = TritonSettings(bulk_in_flight=9, silence_s=0.5, instances=3, bulk_queue=7, batch_tokens=512)
    options, policy = triton_options(chosen), serving_policy(chosen)
    assert (options.bulk_in_flight, options.silence_s, options.batch_tokens) == (9, 0.5, 512)
    assert (policy.instances, policy.bulk_queue, policy.batch_tokens) == (3, 7, 512)
