"""Start the model server of a profile: installed, with a repository of the artefacts, proven by whoever opens it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from inference.minilm.artefact import prepare
from inference.model_repository import write_model
from infra.embedders import serving_policy
from infra.launch.processes import ProcessRecord
from infra.servers.triton import TritonServer, install_triton
from infra.settings import Settings, process_environment


def start_model_server(
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
    on_spawn: Callable[[ProcessRecord], None] = lambda _: None,
) -> TritonServer:
    """Start Triton with the embedding model; it keeps its repository and log under ``triton`` in the home folder.

    Parameters
    ----------
    settings : Settings
        Group `triton`, and where things lie.
    progress : callable
        Receives a line before and after anything is fetched.
    on_spawn : callable
        Told of the process as soon as it exists.

    Raises
    ------
    ConfigurationError
        Something that it needs is not installed, or the version is taken by another artefact.
    Unavailable
        It did not become ready.
    """
    triton = settings.triton
    parts = install_triton(settings.cache, triton.python or sys.executable, progress)
    folder = settings.home / "triton"
    models = write_model(
        folder / "repository",
        prepare(settings.cache / "models"),
        version=triton.version,
        environment=parts.environment,
        policy=serving_policy(triton),
    )
    return TritonServer(
        folder,
        parts=parts,
        repository=folder / "repository",
        models=models,
        key=triton.key.get_secret_value(),
        environment=process_environment(),
        ports={"grpc": triton.port} if triton.port else None,
        timeout_s=triton.start_timeout_s,
        on_spawn=on_spawn,
    ).start()
