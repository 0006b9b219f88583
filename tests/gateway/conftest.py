"""A gateway over the embedded broker with a scripted worker, and callers of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app
from gateway.assembly import Replica, assembled
from gateway.identity import Identity
from gateway.service import Routers, Service
from gateway.settings import GatewaySettings
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.query import QueryReceived
from streams.embedded_broker import EmbeddedBroker
from tests.brokers import Broker
from tests.gateway.callers import Callers, unhurried
from tests.gateway.libraries import MemoryLibrary
from tests.gateway.reviews import MemoryQuality, MemoryReviews
from tests.millrace.workers import ScriptedWorker, answering, completed, create_catalogue

SECRET = b"of this test run, the same everywhere"
Answering = Callable[..., AbstractContextManager[ScriptedWorker]]


@dataclass(frozen=True)
class Gateway:
    """One replica.

    `client` calls it in this process; what streams comes whole, so that tests of streams serve it (`serving`).
    """

    app: FastAPI
    service: Service
    client: httpx.AsyncClient
    callers: Callers


@dataclass
class Gateways:
    """Makes replicas that share a broker, keys and a library."""

    connection: Connection
    tenant: str
    callers: Callers = field(default_factory=Callers)
    library: MemoryLibrary = field(default_factory=MemoryLibrary)
    reviews: MemoryReviews = field(default_factory=MemoryReviews)
    quality: MemoryQuality = field(default_factory=MemoryQuality)

    def bearer(self, user: str = "ada", *, tenant: str = "", **claims: Any) -> dict[str, str]:
        """Headers of a person of the test's tenant."""
        return self.callers.bearer(user, tenant=tenant or self.tenant, **claims)

    def answering(
        self, behaviour: Callable[[QueryReceived], Iterable[Event]] = lambda question: [completed(question)]
    ) -> AbstractContextManager[ScriptedWorker]:
        """A worker that answers the tenant's questions as a test says."""
        return answering(self.connection, self.tenant, behaviour)

    @asynccontextmanager
    async def replica(
        self, settings: GatewaySettings | None = None, routers: Sequence[Routers] = (), **options: Any
    ) -> AsyncIterator[Gateway]:
        """A running replica."""
        chosen = unhurried(settings or GatewaySettings())
        parts = {
            "library": self.library,
            "verifiers": self.callers.verifiers(),
            "secret": SECRET,
            "replica": Replica(broker_s=20.0),
            **options,
        }
        async with assembled(self.connection, chosen, **parts) as assembly:
            service = replace(assembly, reviews=self.reviews, quality=self.quality)
            app = create_app(service, chosen, routers)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as client:
                yield Gateway(app, service, client, self.callers)


@pytest.fixture(scope="session")
def _catalogue(_embedded: EmbeddedBroker) -> None:
    create_catalogue(_embedded.create_topic)


@pytest.fixture
def connection(embedded_broker: Broker, _catalogue: None, tmp_path: Path) -> Connection:
    """The embedded broker with all topics, and an object folder."""
    return Connection(bootstrap=embedded_broker.bootstrap, profile="embedded", objects=str(tmp_path / "objects"))


@pytest.fixture
def gateways(connection: Connection) -> Gateways:
    """Replicas of a gateway, for a tenant that no other test uses."""
    return Gateways(connection, f"tenant-{secrets.token_hex(6)}")


@pytest.fixture
async def gateway(gateways: Gateways) -> AsyncIterator[Gateway]:
    """One replica with the usual settings."""
    async with gateways.replica() as running:
        yield running


def identity(tenant: str, user: str = "ada", **fields: Any) -> Identity:
    """A person of a tenant."""
    return Identity(tenant=tenant, user=user, **fields)
