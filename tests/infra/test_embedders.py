"""Settings choose the embedder, and say what is missing before anything is started."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from inference.embedder import OnnxEmbedder
from inference.hashing import HashingEmbedder
from inference.minilm.artefact import PROBES, prepare
from inference.model_repository import write_model
from inference.triton import TritonEmbedder
from infra.embedders import open_embedder, serving_policy, triton_options
from infra.servers.triton import TritonParts
from infra.settings import Settings, TritonSettings, load
from millrace.errors import Unavailable
from tests.tritons import StartTriton


def settings(home: Path, **groups: Any) -> Settings:
    return Settings(home=home, cache=load().settings.cache, **groups)


async def test_the_hashing_embedder_needs_nothing(tmp_path: Path) -> None:
    async with open_embedder(settings(tmp_path, models={"embedder": "hashing"})) as embedder:
        assert isinstance(embedder, HashingEmbedder)


async def test_the_model_runs_in_this_process_by_default(tmp_path: Path) -> None:
    async with open_embedder(settings(tmp_path)) as embedder:
        assert isinstance(embedder, OnnxEmbedder)


async def test_the_model_runs_behind_a_server_by_setting(
    tmp_path: Path, start_triton: StartTriton, triton_parts: TritonParts
) -> None:
    artefact = prepare(load().settings.cache / "models")
    policy = serving_policy(TritonSettings(instances=1))
    models = write_model(tmp_path / "repository", artefact, environment=triton_parts.environment, policy=policy)
    server = start_triton(tmp_path / "repository", models, key="secret")
    chosen = settings(
        tmp_path, models={"server": "triton"}, triton={"address": server.address("grpc"), "key": "secret"}
    )
    async with open_embedder(chosen) as embedder:
        assert isinstance(embedder, TritonEmbedder)
        assert np.sum(await embedder.embed(PROBES) * artefact.expected, axis=1).min() >= 0.98


async def test_a_server_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    chosen = settings(tmp_path, models={"server": "triton"}, triton={"address": "127.0.0.1:1"})
    with pytest.raises(Unavailable, match=r"Triton at 127\.0\.0\.1:1"):
        async with open_embedder(chosen):
            pass


def test_what_does_not_fit_together_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"set triton\.address"):
        settings(tmp_path, models={"server": "triton"})
    with pytest.raises(ValidationError, match="runs inside the workers alone"):
        settings(tmp_path, models={"server": "triton", "embedder": "hashing"}, triton={"address": "models:8001"})


def test_settings_reach_the_adapter_and_the_server() -> None:
    chosen = TritonSettings(bulk_in_flight=9, silence_s=0.5, instances=3, bulk_queue=7, batch_tokens=512)
    options, policy = triton_options(chosen), serving_policy(chosen)
    assert (options.bulk_in_flight, options.silence_s, options.batch_tokens) == (9, 0.5, 512)
    assert (policy.instances, policy.bulk_queue, policy.batch_tokens) == (3, 7, 512)
