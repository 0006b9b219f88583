"""Servers beside the broker: started together, known by their ports, ended with the stack."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import psutil
import pytest

from infra.launch.servers import Install, MakeServer, Part
from infra.launch.stack import Stack, read_stack, write_stack
from infra.launch.status import read_status
from infra.servers.server import Server, serves
from infra.settings import Settings
from millrace.connection import find_connection
from millrace.errors import ConfigurationError, Unavailable
from millrace.worker_health import workers
from tests.infra.launcher import Launcher


class Pages(Server):
    """Serves its own folder by HTTP: a real server that is always at hand."""

    name: ClassVar[str] = "pages"
    title: ClassVar[str] = "Pages"
    version = "1.0"
    port_names: ClassVar[tuple[str, ...]] = ("http",)

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        where = ["--bind", "127.0.0.1", "--directory", str(self._folder), str(ports["http"])]
        return [sys.executable, "-m", "http.server", *where]

    def _ready(self, ports: Mapping[str, int]) -> bool:
        return serves(ports["http"], "/")


class Broken(Pages):
    """Ends at once."""

    name: ClassVar[str] = "broken"
    title: ClassVar[str] = "Broken"

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        return [sys.executable, "-c", "print('no room on the disk')"]


def part(kind: type[Server]) -> Part:
    def install(settings: Settings, progress: Callable[[str], None]) -> None:
        progress(f"{kind.title} is at hand")

    def make(settings: Settings, bootstrap: str, programs: None) -> MakeServer:
        return lambda folder, ports, note: kind(
            folder, ports=ports, on_spawn=note, environment={"PATH": "/usr/bin:/bin"}, timeout_s=20.0
        )

    def unwell(settings: Settings, stack: Stack) -> str:
        return "" if serves(stack.ports[kind.name]["http"], "/") else "does not answer"

    return Part(kind, install, make, unwell)


def state(launcher: Launcher, name: str) -> tuple[str, str]:
    found = read_status(launcher.loaded().settings, parts=[part(Pages)])
    process = next(process for process in found.processes if process.name == name)
    return found.state, process.state


def start(launcher: Launcher, *kinds: type[Server]) -> Stack:
    return launcher.up(parts=[part(kind) for kind in kinds]).stack


def record(stack: Stack, name: str) -> Any:
    return next(each for each in stack.processes if each.name == name)


def test_a_server_is_part_of_the_stack_and_ends_with_it(launcher: Launcher) -> None:
    stack = start(launcher, Pages)
    assert serves(stack.ports["pages"]["http"], "/")
    assert stack.versions["pages"] == "1.0"
    assert any(line.startswith("Pages 1.0 ready at 127.0.0.1:") for line in launcher.said)
    assert state(launcher, "pages") == ("running", "ready")
    assert launcher.down() == ["broker", "pages"]
    assert not record(stack, "pages").alive


def test_a_server_is_no_worker_to_the_sdk(launcher: Launcher) -> None:
    start(launcher, Pages)
    connection = find_connection(home=launcher.home, environ={})
    assert [process.name for process in connection.processes] == ["broker", "pages"]
    assert list(workers(connection, 1.0)) == []


def test_a_server_that_died_is_seen_and_comes_back_where_it_was(launcher: Launcher) -> None:
    first = start(launcher, Pages)
    record(first, "pages").kill()
    assert state(launcher, "pages") == ("degraded", "ended")
    second = start(launcher, Pages)
    assert record(second, "broker") == record(first, "broker")
    assert record(second, "pages").pid != record(first, "pages").pid
    assert second.ports == first.ports


def test_a_server_that_runs_and_does_not_serve_is_not_ready(launcher: Launcher) -> None:
    stack = start(launcher, Pages)
    process = psutil.Process(record(stack, "pages").pid)
    process.suspend()
    try:
        assert state(launcher, "pages") == ("degraded", "failed")
    finally:
        process.resume()


def test_a_server_that_fails_takes_down_what_was_started_and_says_why(launcher: Launcher) -> None:
    with pytest.raises(Unavailable, match=r"(?s)Broken was not ready.*no room on the disk"):
        start(launcher, Pages, Broken)
    assert read_stack(launcher.home) is None
    running = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in running if str(launcher.home) in line]


def test_all_that_is_missing_is_named_at_once(launcher: Launcher) -> None:
    def absent(what: str) -> Install:
        def install(settings: Settings, progress: Callable[[str], None]) -> None:
            raise ConfigurationError(f"{what} not found")

        return install

    parts = [replace(part(Pages), install=absent("Java")), part(Pages), replace(part(Broken), install=absent("Go"))]
    with pytest.raises(ConfigurationError, match=r"Java not found\nGo not found"):
        launcher.up(parts=parts)
    assert read_stack(launcher.home) is None


def test_a_server_that_an_interrupted_up_left_is_ended(launcher: Launcher) -> None:
    """As if `up` had been killed after the server was started and before it was in ``stack.json``."""
    stack = start(launcher, Pages)
    left = record(stack, "pages")
    write_stack(Stack(**{**vars(stack), "processes": (record(stack, "broker"),)}))
    start(launcher)
    assert not left.alive
    assert any("pages" in line and "interrupted `up`" in line for line in launcher.said)
