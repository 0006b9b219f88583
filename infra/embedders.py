"""Which embedder stands behind the agents' port, by settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from agents.ports import Embedder
from inference.embedder import OnnxEmbedder
from inference.hashing import HashingEmbedder
from inference.minilm.artefact import prepare
from inference.model_repository import ServingPolicy
from inference.triton import TritonEmbedder, TritonOptions
from infra.settings import Settings, TritonSettings


@asynccontextmanager
async def open_embedder(settings: Settings) -> AsyncIterator[Embedder]:
    """Open the embedder; it is closed again at the end.

    Raises
    ------
    ConfigurationError
        An installation is incomplete, or the model computes something else than it should.
    Unavailable
        The model server does not answer.
    """
    models = settings.models
    if models.embedder == "hashing":
        yield HashingEmbedder()
    elif models.server == "triton":
        triton = settings.triton
        served = await TritonEmbedder.open(
            await asyncio.to_thread(prepare, settings.cache / "models"),
            triton.address,
            version=triton.version,
            options=triton_options(triton),
            key=triton.key.get_secret_value(),
            tls_ca=triton.tls_ca,
        )
        try:
            yield served
        finally:
            await served.close()
    else:
        local = await asyncio.to_thread(OnnxEmbedder.load, settings.cache / "models", threads=models.threads)
        try:
            yield local
        finally:
            local.close()


def triton_options(settings: TritonSettings) -> TritonOptions:
    """How workers ask the server, in the adapter's own form."""
    return msgspec.convert(_fields(settings, TritonOptions), TritonOptions)


def serving_policy(settings: TritonSettings) -> ServingPolicy:
    """How the launcher's server runs its models, in the generator's own form."""
    return msgspec.convert(_fields(settings, ServingPolicy), ServingPolicy)


def _fields(settings: TritonSettings, kind: type[msgspec.Struct]) -> dict[str, object]:
    return settings.model_dump(include=set(kind.__struct_fields__))
