"""The schema registry of a stack: how it is started, and the contract that it is given before any worker starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from infra.launch.servers import MakeServer, Part
from infra.launch.stack import Stack, write_stack
from infra.registry import Registration, register
from infra.servers.apicurio import ApicurioServer, install_apicurio, url_of
from infra.servers.java import find_java
from infra.settings import Settings, process_environment
from millrace.errors import MillraceError
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
    """Write down where the registry is, and register the contract with it.

    Raises
    ------
    ConfigurationError
        It does not accept the contract.
    Unavailable
        It does not answer.
    """
    address = stack.address(NAME, "http")
    url = settings.registry.url or (url_of(address) if address else "")
    if not url:
        return stack
    stack = replace(stack, registry=url)
    write_stack(stack)
    register_contract(settings, url, stack.log_epoch, progress=progress)
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


class _Programs(NamedTuple):
    java: str
    apicurio: Path


def _install(settings: Settings, progress: Callable[[str], None]) -> _Programs:
    java = find_java(settings.kafka.java)
    return _Programs(java, install_apicurio(settings.cache, settings.kafka.maven, progress))


def _make(settings: Settings, bootstrap: str, programs: _Programs) -> MakeServer:  # noqa: ARG001 - given to all
    return lambda folder, ports, note: ApicurioServer(
        folder,
        program=programs.apicurio,
        environment=process_environment(),
        java=programs.java,
        port=settings.registry.port or (ports or {}).get("http"),
        heap_mb=settings.registry.heap_mb,
        timeout_s=settings.registry.start_timeout_s,
        on_spawn=note,
    )


def _unwell(settings: Settings, stack: Stack) -> str:
    try:
        Registry(registry_access(settings, stack.registry)).request("GET", "/config")
    except MillraceError as error:
        return str(error)
    return ""


PART: Final = Part(ApicurioServer, _install, _make, _unwell)
