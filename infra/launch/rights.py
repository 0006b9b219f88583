"""The users and rules of secured Kafka nodes that the launcher runs: renewed at each `up`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from confluent_kafka.admin import AdminClient

from infra.launch.broker import broker_connection, kafka_secrets
from infra.launch.stack import Stack
from infra.rights import (
    APP,
    CONNECT,
    GATEWAY,
    OPERATOR,
    Rights,
    app_rights,
    connect_rights,
    ensure_users,
    gateway_rights,
    grant,
    operator_rights,
    worker_rights,
)
from infra.servers.kafka.security import ADMIN
from infra.settings import Settings
from millrace.agent import AgentSpec
from millrace.errors import ConfigurationError

DEPLOYABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "corpus-worker": ("agents.corpus", "agents.guard"),
    "query-worker": ("agents.query", "agents.usage"),
    "learn-worker": ("agents.learn",),
}
"""Principals of workers that run a part of Millrace's agents, and the modules of each."""
WORKER: Final = "worker"
"""A worker that runs all agents of the settings."""


def with_rights(settings: Settings, stack: Stack, progress: Callable[[str], None]) -> Stack:
    """Make the topics that principals may not make, and at nodes of ours give each its password and its rules.

    At a broker of the user's own the rules are the user's: see `apply_rules`.

    Raises
    ------
    Unavailable
        The broker does not answer.
    """
    secrets = kafka_secrets(settings)
    if secrets is None and not settings.bootstrap:
        return stack
    from infra.worker import ensure_topics

    ensure_topics(settings, stack, every_spec(settings), user=ADMIN)
    if secrets is None:
        return stack
    rights = all_rights(settings)
    admin = AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
    ensure_users(admin, {user: secrets.password(user) for user in rights})
    if n_changed := grant(admin, rights):
        progress(f"{n_changed} rules of {len(rights)} principals set; credentials in {secrets.path(APP).parent}")
    return replace(stack, credentials=str(secrets.path(OPERATOR)))


def apply_rules(settings: Settings) -> int:
    """Add the rules that are missing at a broker of the user's own, and take none away; gives their number.

    Raises
    ------
    ConfigurationError
        The settings name no broker.
    Unavailable
        It does not answer, asks for no rules, or does not let this user change them.
    """
    if not settings.bootstrap:
        raise ConfigurationError(
            "rules are set at a broker of yours: set bootstrap to its address; at nodes of the launcher kafka.secured "
            "does it, with each `up`"
        )
    admin = AdminClient(broker_connection(settings, settings.bootstrap).librdkafka())
    return grant(admin, all_rights(settings), exactly=False)


def all_rights(settings: Settings) -> dict[str, Rights]:
    """Rights of every principal by name."""
    from infra.composition import ports_class
    from infra.worker import pump_settings
    from streams.tables import changelog

    pump = pump_settings(settings)
    workers = {
        name: worker_rights(
            specs,
            lambda spec: getattr(ports_class(spec), "__name__", ""),
            lambda spec: changelog(spec, pump),
            pump.group_prefix,
        )
        for name, specs in specs_of(settings).items()
    }
    own = {APP: app_rights(), GATEWAY: gateway_rights(), OPERATOR: operator_rights(pump.group_prefix)}
    return {**workers, **_of_capture(settings), **own}


def _of_capture(settings: Settings) -> dict[str, Rights]:
    """Rights of Kafka Connect, where changes are captured; without a mapping yet it keeps its own topics alone."""
    from infra.launch.change_capture import topics_beside
    from streams.sources.cdc import capture_topics, read_mapping

    capture = settings.capture
    if capture.mapping is None:
        return {CONNECT: connect_rights((), ())} if capture.run else {}
    mapping = read_mapping(capture.mapping)
    captured = [topic.name for topic in capture_topics(mapping)]
    return {CONNECT: connect_rights(captured, topics_beside(mapping.name))}


def specs_of(settings: Settings) -> dict[str, list[AgentSpec]]:
    """Agents that each principal of a worker runs."""
    from infra.worker import OWN_AGENTS, capturing, load_agents

    modules = {**DEPLOYABLES, WORKER: settings.worker.agents or OWN_AGENTS}
    found = {name: load_agents(agents) for name, agents in modules.items()}
    if not settings.worker.agents:
        found[WORKER] += capturing(settings)
    return found


def every_spec(settings: Settings) -> list[AgentSpec]:
    """The same agents, each once."""
    return list({spec.name: spec for specs in specs_of(settings).values() for spec in specs}.values())
