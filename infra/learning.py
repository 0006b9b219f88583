"""Opens what the learning loop works with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any

from agents.learn.policy import LearnPolicy
from agents.learn.ports import ExamplePorts, LearnPorts
from infra.guarding import Guards
from infra.launch.stack import Stack
from millrace.agent import AgentSpec
from millrace.topics import SESSION_DUE
from streams.parsing.language import language
from streams.producer import Producer
from streams.sessions import SessionCloser
from streams.stores.objects import ContentStore


def learning_ports(
    chosen: LearnPolicy, stack: Stack, classes: Collection[type | None], guards: Guards | None
) -> list[Any]:
    """Ports of these classes.

    Parameters
    ----------
    chosen : LearnPolicy
        What the operator set.
    stack : Stack
        Where objects are.
    classes : collection of type
        Classes of ports that the running agents ask for.
    guards : Guards or None
        What looks at texts of others.
    """
    found: list[Any] = [LearnPorts(chosen)]
    if ExamplePorts in classes and guards is not None and (scanner := guards.of_documents()) is not None:
        found.append(
            ExamplePorts(
                objects=ContentStore(stack.objects),
                personal_data=guards.personal_data,
                scanner=scanner,
                language=language,
                guard=guards.policy,
                policy=chosen,
            )
        )
    return found


async def closing_sessions(
    chosen: LearnPolicy,
    specs: Collection[AgentSpec],
    client: Mapping[str, Any],
    services: AsyncExitStack,
    **options: Any,
) -> list[SessionCloser]:
    """Say of quiet conversations that they are over, where an agent that waits for that runs.

    Parameters
    ----------
    chosen : LearnPolicy
        How long a conversation is quiet before that.
    specs : collection of AgentSpec
        Agents that run.
    client : mapping
        Options of an aiokafka client.
    services : AsyncExitStack
        Ends it.
    options
        See `SessionCloser`.

    Returns
    -------
    list of SessionCloser
        What the worker depends on.
    """
    if not any(SESSION_DUE in spec.sources for spec in specs):
        return []
    producer = Producer(client)
    closer = SessionCloser(
        client, producer, gap_s=chosen.session_gap_s, lateness_s=chosen.session_lateness_s, **options
    )
    for service in (producer, closer):
        services.push_async_callback(service.stop)
        await service.start()
    return [closer]
