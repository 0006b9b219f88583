"""The model server of a stack: installed, with a repository of the artefacts, proven by whoever opens it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from inference.minilm.artefact import Artefact, prepare
from inference.model_repository import write_model
from inference.triton import prove_served
from infra.embedders import serving_policy
from infra.launch.servers import MakeServer, Part
from infra.launch.stack import Stack
from infra.servers.triton import TritonParts, TritonServer, install_triton, remove_left
from infra.settings import Settings, process_environment
from millrace.errors import MillraceError

_PROOF_S: Final = 2.0


class _Programs(NamedTuple):
    triton: TritonParts
    artefact: Artefact


def _install(settings: Settings, progress: Callable[[str], None]) -> _Programs:
    triton = install_triton(settings.cache, settings.triton.python or sys.executable, progress)
    return _Programs(triton, prepare(settings.cache / "models"))


def _make(settings: Settings, bootstrap: str, programs: _Programs) -> MakeServer:  # noqa: ARG001 - given to all
    triton = settings.triton
    repository = settings.home / NAME / "repository"
    models = write_model(
        repository,
        programs.artefact,
        version=triton.version,
        environment=programs.triton.environment,
        policy=serving_policy(triton),
    )
    return lambda folder, ports, note: TritonServer(
        folder,
        parts=programs.triton,
        repository=repository,
        models=models,
        key=triton.key.get_secret_value(),
        environment=process_environment(),
        ports={**(ports or {}), **({"grpc": triton.port} if triton.port else {})},
        timeout_s=triton.start_timeout_s,
        on_spawn=note,
    )


def _unwell(settings: Settings, stack: Stack) -> str:
    """Ask for one inference: a server calls a model ready whose process is dead."""
    triton = settings.triton
    proof = prove_served(
        prepare(settings.cache / "models"),
        stack.address(NAME, "grpc"),
        version=triton.version,
        key=triton.key.get_secret_value(),
        within_s=_PROOF_S,
    )
    try:
        asyncio.run(proof)
    except TimeoutError:
        return f"gives no answer within {2 * _PROOF_S:g} s"
    except MillraceError as error:
        return str(error)
    return ""


NAME: Final = TritonServer.name
PART: Final = Part(TritonServer, _install, _make, _unwell, remove_left)
