"""Which servers a stack runs beside its broker, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from infra.launch import change_capture, model_server, registry, vector_store
from infra.launch.broker import install_broker
from infra.launch.servers import Part, install_all
from infra.settings import Settings

PARTS: Final = (
    registry.PART,
    vector_store.PART,
    model_server.PART,
    change_capture.POSTGRES,
    change_capture.CONNECT_PART,
)
"""Every server that a stack may run."""


def install(settings: Settings, progress: Callable[[str], None]) -> list[str]:
    """Fetch all that a start with these settings would fetch; gives the names of the servers.

    Raises
    ------
    ConfigurationError
        Something is not installed and cannot be fetched.
    """
    parts = parts_of(settings)
    broker, *_ = install_all(settings, [install_broker, *(part.install for part in parts)], progress)
    return [*(["kafka"] if broker else []), *(part.name for part in parts)]


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """The servers that are to be started here; those of the user's own are not among them."""
    models, capture = settings.models, settings.capture
    wanted = {
        registry.PART: settings.registry.run and not settings.registry.url,
        vector_store.PART: settings.stores.kind == "weaviate" and not settings.weaviate.url,
        model_server.PART: models.server == "triton" and models.embedder != "hashing" and not settings.triton.address,
        change_capture.POSTGRES: capture.run and not capture.database_url.get_secret_value(),
        change_capture.CONNECT_PART: capture.run and not capture.connect_url,
    }
    return tuple(part for part, runs in wanted.items() if runs)
