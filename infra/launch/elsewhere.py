"""A stack that nobody started here: broker, registry and the others are where the settings say, as in containers.

Each process that needs it asks the broker anew, so nothing that was written down can be about another log.
"""

from __future__ import annotations

from dataclasses import replace

from infra.launch.broker import start_broker
from infra.launch.stack import Stack, read_stack
from infra.settings import Settings
from millrace.errors import StackNotFound


def stack_of(settings: Settings) -> Stack:
    """What runs in the home folder, or else what the settings name.

    Raises
    ------
    StackNotFound
        There is neither.
    ConfigurationError
        ``stack.json`` was written by a newer release or is damaged.
    Unavailable
        The broker that the settings name does not answer.
    """
    stack = read_stack(settings.home) or stack_elsewhere(settings)
    if stack is None:
        raise StackNotFound(
            f"nothing runs in {settings.home}; start it with `python -m infra up` or name --home, or name the brokers "
            "of a stack elsewhere by the setting bootstrap"
        )
    return stack


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
