"""Opens what the learning loop works with."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from agents.learn.policy import LearnPolicy
from agents.ports import ExamplePorts, LearnPorts
from inference.personal_data import PersonalDataFinder
from infra.launch.stack import Stack
from streams.parsing.language import language
from streams.stores.objects import ContentStore


def learning_ports(chosen: LearnPolicy, stack: Stack, classes: Collection[type | None]) -> list[Any]:
    """Ports of these classes that need nothing that is opened.

    Parameters
    ----------
    chosen : LearnPolicy
        What the operator set.
    stack : Stack
        Where objects are.
    classes : collection of type
        Classes of ports that the running agents ask for.
    """
    found: list[Any] = [LearnPorts(chosen)]
    if ExamplePorts in classes:
        found.append(ExamplePorts(ContentStore(stack.objects), PersonalDataFinder(), language, chosen))
    return found
