from pathlib import Path

import pytest

from inference.minilm.artefact import Artefact
from inference.model_repository import lane_model, write_model
from infra.servers.triton import TritonParts, TritonServer
from tests.tritons import StartTriton


@pytest.fixture
def names(artefact: Artefact) -> dict[str, str]:
    return {lane: lane_model(artefact, lane) for lane in ("interactive", "bulk")}


@pytest.fixture
def server(tmp_path: Path, start_triton: StartTriton, triton_parts: TritonParts, artefact: Artefact) -> TritonServer:
    models = write_model(tmp_path / "repository", artefact, environment=triton_parts.environment)
    return start_triton(tmp_path / "repository", models)
