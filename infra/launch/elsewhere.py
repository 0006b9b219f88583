"""A stack that nobody started here: broker, registry and the others are where the settings say, as in containers.

Each process that needs it asks the broker anew, so nothing that was written down can be about another log.
"""

from __future__ import annotations

from dataclasses import replace

from infra.launch.broker import start_broker
from infra.launch.stack import Stack
from infra.settings import Settings


def stack_elsewhere(settings: Settings) -> Stack | None:
    """The stack that the settings name; None where they name no broker.

    Raises
    ------
    Unavailable
        The broker does not answer.
    """
    if not settings.bootstrap:
        return None
    return replace(start_broker(settings, lambda _: None), registry=settings.registry.url)
