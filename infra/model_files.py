"""``python -m infra models``: the files of the models, for an image or for a Triton server of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from inference.minilm.artefact import prepare
from inference.model_repository import write_model
from infra.embedders import serving_policy
from infra.settings import Settings


def write_models(
    settings: Settings,
    repository: Path | None = None,
    *,
    environment: Path | None = None,
    install: bool = False,
    providers: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Convert the embedding model into the cache folder, and write it into a model repository.

    Parameters
    ----------
    settings : Settings
        Cache folder, version, and how the server runs the models.
    repository : Path, optional
        Triton's model repository; without one, the model is converted and no more.
    environment : Path, optional
        Virtual environment of the Python backend, as a path on the server; by default the server's own Python.
    install : bool
        Whether Triton itself is fetched into the cache folder, with an environment that the models then use.
    providers : sequence of str
        Execution providers of ONNX Runtime, in the order of preference; by default the processor's.
    progress : callable
        Receives a line at each step.

    Returns
    -------
    tuple of str
        Names of the models of the repository.

    Raises
    ------
    ConfigurationError
        Something is not installed, or the version is taken by another model.
    """
    artefact = prepare(settings.cache / "models")
    progress(f"{artefact.model} is ready in {artefact.graph.parent}")
    if repository is None:
        return ()
    if install:
        from infra.servers.triton import install_triton

        environment = install_triton(settings.cache, settings.triton.python or sys.executable, progress).environment
    policy = serving_policy(settings.triton)
    if providers:
        policy = msgspec.structs.replace(policy, providers=tuple(providers))
    return write_model(repository, artefact, version=settings.triton.version, environment=environment, policy=policy)
