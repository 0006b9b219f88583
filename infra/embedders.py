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
from millrace.errors import ConfigurationError


@asynccontextmanager
async def open_embedder(settings: Settings, served_at: str = "") -> AsyncIterator[Embedder]:
    """Open the embedder; it is closed again at the end.

    Parameters
    ----------
    settings : Settings
        Which one, and how it is asked.
    served_at : str
        ``host:port`` of the model server that the launcher has started; one that the settings name comes first.

    Raises
    ------
    ConfigurationError
        An installation is incomplete, no model server is named, or the model computes something else than it should.
    Unavailable
        The model server does not answer.
    """
    models = settings.models
    if models.embedder == "hashing":
        yield HashingEmbedder()
    elif models.server == "triton":
        triton = settings.triton
        if not (address := triton.address or served_at):
            raise ConfigurationError(
                "models.server is 'triton', but no server runs here and none is named; set triton.address to "
                "`host:port` of its gRPC service, or models.server to 'in_process'"
            )
        served = await TritonEmbedder.open(
            await asyncio.to_thread(prepare, settings.cache / "models"),
            address,
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


def provider(settings: Settings) -> str:
    """Who computes embeddings, as spans call it."""
    models = settings.models
    if models.embedder == "hashing":
        return "hashing"
    return "triton" if models.server == "triton" else "onnxruntime"


def triton_options(settings: TritonSettings) -> TritonOptions:
    """How workers ask the server, in the adapter's own form."""
    return msgspec.convert(_fields(settings, TritonOptions), TritonOptions)


def serving_policy(settings: TritonSettings) -> ServingPolicy:
    """How the launcher's server runs its models, in the generator's own form."""
    return msgspec.convert(_fields(settings, ServingPolicy), ServingPolicy)


def _fields(settings: TritonSettings, kind: type[msgspec.Struct]) -> dict[str, object]:
    return settings.model_dump(include=set(kind.__struct_fields__))
