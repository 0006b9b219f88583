"""The schema registry of a stack: started where settings say so, and given the contract before any worker starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infra.launch.processes import ProcessRecord
from infra.launch.stack import Stack, write_stack
from infra.registry import Registration, register
from infra.servers.apicurio import ApicurioServer, install_apicurio
from infra.servers.java import find_java
from infra.settings import Settings, process_environment
from millrace.registry import Registry, RegistryAccess
from millrace.schema_lock import SchemaLock, released
from millrace.topics import CATALOGUE, Topic

NAME: Final = ApicurioServer.name
_NOTES: Final = "registry-ids.json"


def registry_access(settings: Settings, url: str) -> RegistryAccess:
    """How to reach a registry; holds secrets in clear, so it is for a client and for nothing else."""
    chosen = settings.registry
    return RegistryAccess(
        url=url,
        username=chosen.username,
        password=chosen.password.get_secret_value(),
        token=chosen.token.get_secret_value(),
        ca_location=str(chosen.ca_location or ""),
        timeout_s=chosen.timeout_s,
    )


def with_registry(settings: Settings, stack: Stack, progress: Callable[[str], None]) -> Stack:
    """Start the registry unless it runs, write down where it is, and register the contract.

    Raises
    ------
    ConfigurationError
        Something that it needs is not installed, or it does not accept the contract.
    Unavailable
        It did not become ready, or does not answer.
    """
    if not (settings.registry.url or settings.registry.run):
        return stack
    running = any(record.name == NAME and record.alive for record in stack.processes)
    if settings.registry.url:
        stack = replace(stack, registry=settings.registry.url)
    elif not running:
        stack = _started(settings, stack, progress)
    write_stack(stack)
    register_contract(settings, stack.registry, stack.log_epoch, progress=progress)
    return stack


def register_contract(
    settings: Settings,
    url: str,
    log_epoch: str,
    *,
    topics: Sequence[Topic] = (),
    locks: Sequence[Path] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Registration:
    """Register Millrace's catalogue, and topics of anyone's with their locks, for a log; errors as of `register`."""
    every = (*CATALOGUE.values(), *(topic for topic in topics if topic.name not in CATALOGUE))
    return register(
        Registry(registry_access(settings, url)),
        every,
        (released(), *(SchemaLock.load(folder) for folder in locks)),
        notes=settings.home / _NOTES if log_epoch else None,
        log_epoch=log_epoch,
        progress=progress,
    )


def _started(settings: Settings, stack: Stack, progress: Callable[[str], None]) -> Stack:
    java = find_java(settings.kafka.java)
    program = install_apicurio(settings.cache, settings.kafka.maven, progress)
    others = tuple(record for record in stack.processes if record.name != NAME)

    def note(record: ProcessRecord) -> None:
        write_stack(replace(stack, processes=(*others, record)))

    server = ApicurioServer(
        settings.home / NAME,
        program=program,
        environment=process_environment(),
        java=java,
        # Workers that run already have its address.
        port=settings.registry.port or urlsplit(stack.registry).port,
        heap_mb=settings.registry.heap_mb,
        timeout_s=settings.registry.start_timeout_s,
        on_spawn=note,
    ).start()
    progress(f"schema registry ready at {server.url}")
    return replace(stack, registry=server.url, processes=(*others, server.process))
