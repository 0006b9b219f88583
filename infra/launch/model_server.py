"""The model server of a stack: installed, with a repository of the artefacts, proven by whoever opens it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from inference.minilm.artefact import prepare
from inference.model_repository import write_model
from infra.embedders import serving_policy
from infra.launch.servers import MakeServer, Part
from infra.launch.stack import Stack
from infra.servers.server import serves
from infra.servers.triton import TritonServer, install_triton, remove_left
from infra.settings import Settings, process_environment


def _make(settings: Settings, bootstrap: str, progress: Callable[[str], None]) -> MakeServer:  # noqa: ARG001
    triton = settings.triton
    parts = install_triton(settings.cache, triton.python or sys.executable, progress)
    repository = settings.home / NAME / "repository"
    models = write_model(
        repository,
        prepare(settings.cache / "models"),
        version=triton.version,
        environment=parts.environment,
        policy=serving_policy(triton),
    )
    return lambda folder, ports, note: TritonServer(
        folder,
        parts=parts,
        repository=repository,
        models=models,
        key=triton.key.get_secret_value(),
        environment=process_environment(),
        ports={**(ports or {}), **({"grpc": triton.port} if triton.port else {})},
        timeout_s=triton.start_timeout_s,
        on_spawn=note,
    )


def _unwell(settings: Settings, stack: Stack) -> str:  # noqa: ARG001 - what every part is asked with
    well = serves(stack.ports.get(NAME, {}).get("metrics", 0), "/metrics")
    return "" if well else "gives no metrics"


NAME: Final = TritonServer.name
PART: Final = Part(TritonServer, _make, _unwell, remove_left)
