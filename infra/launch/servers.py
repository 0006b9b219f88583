"""Servers beside the broker: started together, found again by their ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from infra.launch.processes import ProcessRecord
from infra.launch.stack import Stack
from infra.launch.unlisted import note
from infra.servers.server import Server
from infra.settings import Settings

Progress = Callable[[str], None]
MakeServer = Callable[[Path, Mapping[str, int] | None, Callable[[ProcessRecord], None]], Server]


@dataclass(frozen=True)
class Part:
    """A server that a stack runs beside its broker.

    Attributes
    ----------
    kind : type of Server
        Its name is the role in ``stack.json``, and the folder in the home.
    make : callable
        Gets the broker's address; installs the program if need be, and gives what makes the `Server` from its folder,
        the ports that it had (or None) and who is told of its process.
    unwell : callable
        Asks whether it serves: empty, or what is wrong.
    clean : callable
        Removes what a killed one left outside of its folder, which it is given.
    """

    kind: type[Server]
    make: Callable[[Settings, str, Progress], MakeServer]
    unwell: Callable[[Settings, Stack], str]
    clean: Callable[[Path], None] = lambda _: None

    @property
    def name(self) -> str:
        """Its role in ``stack.json``."""
        return self.kind.name


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
    # One after the other: each says what it fetches.
    made = [part.make(settings, stack.bootstrap, progress) for part in missing]
    servers = [
        make(settings.home / part.name, stack.ports.get(part.name), lambda record: note(settings.home, record))
        for part, make in zip(missing, made, strict=True)
    ]
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
