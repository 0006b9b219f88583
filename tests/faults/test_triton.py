"""The model server is a black hole, ten times slower, or gone: questions end in time and documents wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inference.minilm.artefact import prepare
from inference.model_repository import write_model
from infra.servers.triton import TritonParts, TritonServer
from infra.settings import load, process_environment
from millrace.client import Millrace
from millrace.connection import find_connection
from millrace.errors import RequestFailed
from tests.faults.log_access import ends, until
from tests.faults.native import NativeStack
from tests.faults.oracle import DEAD_LETTERS, Oracle
from tests.faults.report import FaultRow
from tests.faults.workload import Change, Size, Workload, scaled
from tests.tcp_proxy import TcpProxy

AGENTS = ("agents.corpus", "agents.query")
QUESTION_S = 6.0
GRACE_S = 0.5
DELAY_S = 0.05
Note = Callable[[FaultRow], None]


@dataclass(frozen=True)
class Served:
    """A model server behind a proxy."""

    server: TritonServer
    proxy: TcpProxy

    @property
    def settings(self) -> dict[str, Any]:
        """Of a worker that uses it."""
        return {
            "models__embedder": "minilm",
            "models__server": "triton",
            "triton__address": f"127.0.0.1:{self.proxy.port}",
        }


@pytest.fixture(scope="module")
def _triton(tmp_path_factory: pytest.TempPathFactory, triton_parts: TritonParts) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("faults-triton")
    artefact = prepare(load().settings.cache / "models")
    models = write_model(folder / "repository", artefact, environment=triton_parts.environment)
    options: dict[str, Any] = {"parts": triton_parts, "environment": process_environment()}
    with TritonServer(folder / "server", repository=folder / "repository", models=models, **options) as server:
        yield server


@pytest.fixture
def served(_triton: TritonServer) -> Iterator[Served]:
    with TcpProxy(_triton.ports["grpc"]) as proxy:
        yield Served(_triton, proxy)
    if not _triton.running:
        _triton.start()


def changes_of(workload: Workload) -> list[Change]:
    return [change for change in workload.changes() if change.kind != "poison"]


def test_without_its_model_server_a_worker_ends_questions_in_time_and_keeps_documents(
    native: NativeStack, served: Served, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """B4: black-holed, ten times as slow, killed and started again."""
    workload = Workload(41, tag, Size(1, scaled(60, 9), 1))
    oracle, changes, name = native.oracle(workload.tenants), changes_of(workload), f"served-{tag}"
    before, size = sum(ends(native.bootstrap, DEAD_LETTERS).values()), -(-len(changes) // 4)
    parts = [changes[start : start + size] for start in range(0, len(changes), size)]
    native.start(name, agents=AGENTS, **served.settings)
    _fed(native, oracle, parts[0])
    usual_s, failed = _asked(native, workload.tenants[0])
    assert not failed

    served.proxy.black_hole()
    native.feeder().feed(parts[1], oracle.acknowledge)
    hole_s, failed = _asked(native, workload.tenants[0])
    assert failed
    again_s, _ = _asked(native, workload.tenants[0])
    assert max(hole_s, again_s) <= QUESTION_S + GRACE_S
    served.proxy.forward()
    began = time.monotonic()
    native.drained(timeout_s=60)
    hole_recovery_s = time.monotonic() - began

    served.proxy.delay(DELAY_S)
    _fed(native, oracle, parts[2])
    slow_s, failed = _asked(native, workload.tenants[0])
    assert not failed
    served.proxy.delay(0.0)

    served.server.kill()
    native.feeder().feed(parts[3], oracle.acknowledge)
    gone_s, failed = _asked(native, workload.tenants[0])
    assert failed
    assert gone_s <= QUESTION_S + GRACE_S
    served.server.start()
    served.proxy.target_port = served.server.ports["grpc"]
    began = time.monotonic()
    native.drained(timeout_s=60)
    recovery_s = max(hole_recovery_s, time.monotonic() - began)

    native.judge(oracle, tmp_path, name).assert_none()
    assert sum(ends(native.bootstrap, DEAD_LETTERS).values()) == before
    assert recovery_s <= 30
    note = (
        f"a question takes {usual_s:.1f} s, {slow_s:.1f} s with {2 * DELAY_S * 1000:.0f} ms more a call; with a "
        f"deadline of {QUESTION_S:g} s it fails after {max(hole_s, again_s):.1f} s in a black hole and {gone_s:.1f} s "
        "without a server"
    )
    fault_row(FaultRow("B4 Triton black-holed, slow, killed", "native", progress_s=recovery_s, note=note))


def test_a_worker_that_takes_a_silent_model_server_for_a_mistake_gives_documents_up(
    native: NativeStack, served: Served, tag: str
) -> None:
    """Control of B4."""
    workload = Workload(41, tag, Size(1, 3, 1))
    before = sum(ends(native.bootstrap, DEAD_LETTERS).values())
    native.start(agents=AGENTS[:1], without="classes", **served.settings)
    served.proxy.black_hole()
    native.feeder().feed(changes_of(workload), native.oracle(workload.tenants).acknowledge)
    until(lambda: sum(ends(native.bootstrap, DEAD_LETTERS).values()) > before, 90, native.logs)


def _fed(native: NativeStack, oracle: Oracle, changes: list[Change]) -> None:
    native.feeder().feed(changes, oracle.acknowledge)
    native.drained(timeout_s=120)


def _asked(native: NativeStack, tenant: str) -> tuple[float, bool]:
    """Seconds until a question ends, and whether it failed."""

    async def ask() -> tuple[float, bool]:
        async with Millrace(find_connection(home=native.home), tenant=tenant) as client:
            began = time.monotonic()
            try:
                await client.search(f"mill stones {time.monotonic_ns()}", timeout_s=QUESTION_S)
            except RequestFailed:
                return time.monotonic() - began, True
            return time.monotonic() - began, False

    return asyncio.run(ask())
