"""Which servers a stack runs beside its broker, by its settings."""

from __future__ import annotations

from infra.launch import model_server, registry
from infra.launch.servers import Part
from infra.settings import Settings


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """The servers that are to be started here; those of the user's own are not among them."""
    wanted = {
        registry.PART: settings.registry.run and not settings.registry.url,
        model_server.PART: settings.models.server == "triton" and not settings.triton.address,
    }
    return tuple(part for part, runs in wanted.items() if runs)
