"""Servers beside the broker: started together, found again by their ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infra.launch.processes import ProcessRecord
from infra.launch.stack import Stack
from infra.launch.unlisted import note
from infra.servers.server import Server
from infra.settings import Settings
from millrace.errors import ConfigurationError

Progress = Callable[[str], None]
Install = Callable[[Settings, Progress], Any]
MakeServer = Callable[[Path, Mapping[str, int] | None, Callable[[ProcessRecord], None]], Server]


@dataclass(frozen=True)
class Part:
    """A server that a stack runs beside its broker.

    Attributes
    ----------
    kind : type of Server
        Its name is the role in ``stack.json``, and the folder in the home.
    install : callable
        Finds its programs, and first fetches those that the cache folder does not hold.
    make : callable
        Gets the broker's address and what `install` gave; gives what makes the `Server` from its folder, the ports that
        it had (or None) and who is told of its process.
    unwell : callable
        Asks whether it serves: empty, or what is wrong.
    clean : callable
        Removes what a killed one left outside of its folder, which it is given.
    """

    kind: type[Server]
    install: Install
    make: Callable[[Settings, str, Any], MakeServer]
    unwell: Callable[[Settings, Stack], str]
    clean: Callable[[Path], None] = lambda _: None

    @property
    def name(self) -> str:
        """Its role in ``stack.json``."""
        return self.kind.name


def install_all(settings: Settings, installs: Sequence[Install], progress: Progress) -> list[Any]:
    """Fetch what servers need, all at the same time; gives their programs, in the order of `installs`.

    Raises
    ------
    ConfigurationError
        Something is not installed and cannot be fetched; the message names all that is missing.
    """
    if not installs:
        return []
    with ThreadPoolExecutor(len(installs)) as threads:
        outcomes = [threads.submit(install, settings, progress) for install in installs]
    errors = [error for outcome in outcomes if (error := outcome.exception())]
    for error in errors:
        if not isinstance(error, ConfigurationError):
            raise error
    if errors:
        raise ConfigurationError("\n".join(dict.fromkeys(map(str, errors))))
    return [outcome.result() for outcome in outcomes]


def start_servers(settings: Settings, stack: Stack, parts: Sequence[Part], progress: Progress) -> Stack:
    """Install and start the servers that do not run yet, all at the same time; each keeps the ports that it had.

    Parameters
    ----------
    settings : Settings
        What they are told.
    stack : Stack
        What runs already.
    parts : sequence of Part
        What should run.
    progress : callable
        Receives a line at each step.

    Returns
    -------
    Stack
        With their processes, ports and versions.

    Raises
    ------
    ConfigurationError
        Something that one of them needs is not installed.
    Unavailable
        One did not become ready; those started here are ended again.
    """
    running = {record.name for record in stack.processes}
    missing = [part for part in parts if part.name not in running]
    servers = []
    found = install_all(settings, [part.install for part in missing], progress)
    for part, programs in zip(missing, found, strict=True):
        make = part.make(settings, stack.bootstrap, programs)
        folder, had = settings.home / part.name, stack.ports.get(part.name)
        servers.append(make(folder, had, lambda record: note(settings.home, record)))
    _start(servers)
    for server in servers:
        progress(f"{server.title} {server.version} ready at {', '.join(map(server.address, server.port_names[:1]))}")
    return replace(
        stack,
        processes=(*stack.processes, *(server.process for server in servers)),
        ports={**stack.ports, **{server.name: server.ports for server in servers}},
        versions={**stack.versions, **{server.name: server.version for server in servers}},
    )


def _start(servers: Sequence[Server]) -> None:
    if not servers:
        return
    with ThreadPoolExecutor(len(servers)) as threads:
        outcomes = [threads.submit(server.start) for server in servers]
    errors = [error for outcome in outcomes if (error := outcome.exception())]
    if errors:
        for server in servers:
            server.stop()
        raise errors[0]
