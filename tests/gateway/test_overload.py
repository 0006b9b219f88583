"""D1 on real processes: a gateway is asked twice as much as is answered, for as long as it takes to show."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from bench.measure import percentile
from infra.launch.gateways import gateway_url
from infra.launch.stack import read_stack
from millrace.event import Event
from millrace.events.query import QueryReceived
from tests.faults.report import FaultRow
from tests.millrace.workers import answering, completed
from tests.system.stacks import System, embedded_system

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(600)]

SCALE = float(os.environ.get("MILLRACE_FAULT_SCALE", "0.1"))
FULL = SCALE >= 1
LOAD_S = 300.0 * SCALE if FULL else 8.0
RATED_S = 30.0 if FULL else 3.0
CONTROL_S = 10.0 if FULL else 4.0
TENANTS = ("acme", "umbrella")
THINKING_S = 0.05
MOST = len(TENANTS) / THINKING_S
"""Answers a second that the models give at most: what is rated cannot be more, however idle the machine is."""
CALLERS = 4
"""How many of each tenant ask one question after the other at the rated load."""
LIMITS = {"concurrent": 11, "concurrent_per_tenant": 6, "requests_per_minute": 0, "tokens_per_minute": 0}
NO_LIMITS = LIMITS | {"concurrent": 100_000, "concurrent_per_tenant": 100_000, "max_lag_s": 3600.0}
BY_LIMITS = {"overloaded", "too_many_questions"}
"""What a refusal is called where a limit is met; a broker that is late with its answer has another name."""
GROWTH_BYTES = 32 * 2**20
"""What a process may grow by and count as flat: allocators keep what a burst needed."""
KEPT_BYTES = 2**10
"""What a replica may keep of each answered question beside that, up to the bound of its tails; of refused ones none."""
TIMES_RATED_P99 = 3.0
RATED_SHARE = 0.8
"""Share of what the models can do that has to be answered at the rated load."""


class Model:
    """Answers the questions of a tenant, one after the other, each in the same time: what a gateway cannot hurry."""

    def __init__(self) -> None:
        self._relieved = threading.Event()

    def __call__(self, question: QueryReceived) -> list[Event]:
        self._relieved.wait(THINKING_S)
        return [completed(question)]

    def relieve(self) -> None:
        """Answer everything at once from now on."""
        self._relieved.set()


@dataclass
class Load:
    """What became of the questions of one load.

    Attributes
    ----------
    statuses : Counter of int
        Outcomes.
    refusals : Counter of str
        Names of problems.
    untold : int
        Refusals that did not say when to come again.
    accepted_s : list of float
        How long answers took, in seconds.
    seconds : float
        How long it was asked for.
    waiting, most_waiting : int
        Callers that had no outcome yet, now and at most.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    untold: int = 0
    accepted_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    waiting: int = 0
    most_waiting: int = 0

    @property
    def n_shed(self) -> int:
        """Questions that a limit refused."""
        return sum(self.refusals[name] for name in BY_LIMITS)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.statuses[200] / self.seconds

    async def ask(self, client: httpx.AsyncClient, tenant: str) -> None:
        """Ask one question, and note what became of it."""
        began = asyncio.get_running_loop().time()
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            response = await client.post(
                "/v1/questions", json={"question": "what?", "timeout_s": 60}, headers={"X-Demo-Person": f"of {tenant}"}
            )
        finally:
            self.waiting -= 1
        self.statuses[response.status_code] += 1
        if response.status_code == 200:
            self.accepted_s.append(asyncio.get_running_loop().time() - began)
        else:
            self.refusals[response.json()["name"]] += 1
            self.untold += not response.headers.get("retry-after", "").isdecimal()


async def rated(client: httpx.AsyncClient) -> Load:
    """As many callers as are always let in, each with one question at a time: they keep the models busy."""
    loop, load = asyncio.get_running_loop(), Load()
    began = loop.time()

    async def ask_on(tenant: str) -> None:
        while loop.time() < began + RATED_S:
            await load.ask(client, tenant)

    async with asyncio.TaskGroup() as group:
        for tenant in TENANTS * CALLERS:
            group.create_task(ask_on(tenant))
    load.seconds = loop.time() - began
    return load


async def paced(client: httpx.AsyncClient, rate: float, seconds: float, then: Callable[[], None]) -> Load:
    """Ask at an even pace, whatever becomes of those before; `then` is called before the last ones are waited for."""
    loop, load = asyncio.get_running_loop(), Load(seconds=seconds)
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for n in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, began + n / rate - loop.time()))
            group.create_task(load.ask(client, TENANTS[n % len(TENANTS)]))
        load.seconds = loop.time() - began
        then()
    return load


@contextlib.contextmanager
def gateway(home: Path, limits: Mapping[str, float]) -> Iterator[tuple[System, psutil.Process, str]]:
    """A stack with one replica and no worker; the replica's process and address."""
    people = [{"name": f"of {tenant}", "tenant": tenant} for tenant in TENANTS]
    with embedded_system(home, gateway={"count": 1, "people": people, "limits": limits}) as system:
        stack = read_stack(system.settings.home)
        assert stack is not None
        [record] = stack.gateways
        url = gateway_url(system.settings, stack.ports[record.name]["http"])
        yield system, psutil.Process(record.pid), url


@contextlib.contextmanager
def thinking(system: System) -> Iterator[Sequence[Model]]:
    """A model of its own for each tenant."""
    with contextlib.ExitStack() as held:
        models = [Model() for _ in TENANTS]
        for tenant, model in zip(TENANTS, models, strict=True):
            held.enter_context(answering(system.connection, tenant, model))
            held.callback(model.relieve)  # what still waits is not answered one by one
        yield models


def caller(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=90, limits=httpx.Limits(max_connections=2000))


async def test_twice_the_rated_load_is_shed_with_when_to_come_again_in_flat_memory(
    tmp_path: Path, fault_row: Callable[[FaultRow], None]
) -> None:
    with gateway(tmp_path / "home", LIMITS) as (system, process, url), thinking(system):
        async with caller(url) as client:
            usual = await rated(client)
            assert usual.statuses[200] > 0, usual.refusals
            before = process.memory_info().rss
            found = await paced(client, 2 * MOST, LOAD_S, lambda: None)
            grown = process.memory_info().rss - before
    assert found.statuses.keys() <= {200, 429, 503}, found.statuses
    assert found.statuses[200] > 0
    assert found.n_shed > 0, found.refusals
    assert found.untold == 0
    assert grown <= GROWTH_BYTES + found.statuses[200] * KEPT_BYTES
    usual_s, found_s = percentile(usual.accepted_s, 0.99), percentile(found.accepted_s, 0.99)
    if FULL:
        assert usual.statuses.keys() == {200}, usual.refusals
        assert usual.rate >= RATED_SHARE * MOST, "the machine is too busy to tell anything of time"
        assert found_s <= TIMES_RATED_P99 * usual_s
    fault_row(
        FaultRow(
            "D1 twice the rated load",
            "embedded",
            note=f"{LOAD_S:.0f} s at {2 * MOST:.0f} questions a second, rated {MOST:.0f} (measured {usual.rate:.0f}): "
            f"{found.statuses[200]} answered, {found.statuses[429]} told 429 and {found.statuses[503]} 503, all with "
            f"Retry-After; p99 of answers {found_s * 1000:.0f} ms, rated {usual_s * 1000:.0f} ms; gateway "
            f"{before / 2**20:.0f} MiB, grew by {grown / 2**20:.1f} MiB",
        )
    )


async def test_without_limits_nothing_is_shed_and_ever_more_callers_wait(tmp_path: Path) -> None:
    """Control of D1: the same load on a gateway whose limits are off."""
    with gateway(tmp_path / "home", NO_LIMITS) as (system, _, url), thinking(system) as models:

        def relieve() -> None:
            for model in models:
                model.relieve()

        async with caller(url) as client:
            found = await paced(client, 2 * MOST, CONTROL_S, relieve)
    assert found.n_shed == 0, found.refusals
    assert found.most_waiting > 2 * LIMITS["concurrent"]
