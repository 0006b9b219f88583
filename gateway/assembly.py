"""Put a gateway's parts together for one stack, and take them apart again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from gateway.admission import Admission
from gateway.health import Health
from gateway.identifying import Identification, Verifier
from gateway.library import Library
from gateway.metrics import Metrics
from gateway.people import People
from gateway.questions import Questions
from gateway.resuming import LogReplies
from gateway.seals import Seals
from gateway.service import Embedder, Service
from gateway.settings import GatewaySettings
from millrace.client import Millrace
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import MillraceError
from millrace.events.query import AnswerProduced
from streams.visibility.answers import RecentAnswers

log = logging.getLogger(__name__)

BROKER_S: Final = 2.0
"""How long the broker may take to answer before a request is refused, in seconds."""
_LOOK_S: Final = 1.0


@asynccontextmanager
async def assembled(
    connection: Connection,
    settings: GatewaySettings,
    *,
    library: Library,
    verifiers: Sequence[Verifier],
    secret: bytes,
    name: str = "",
    reply_partition: int | None = None,
    metrics: Metrics | None = None,
    embedder: Embedder | None = None,
    people: People | None = None,
    broker_s: float = BROKER_S,
) -> AsyncIterator[Service]:
    """A running gateway's parts.

    Parameters
    ----------
    connection : Connection
        The stack.
    settings : GatewaySettings
        Limits and names.
    library : Library
        What may be looked at.
    verifiers : sequence of Verifier
        Who vouches for callers.
    secret : bytes
        What all replicas share to seal tokens.
    name : str
        Names this replica; chooses the partition that replies come on.
    reply_partition : int, optional
        That partition, where it is assigned.
    metrics : Metrics, optional
        Where it counts.
    embedder : Embedder, optional
        Embeds texts for callers.
    people : People, optional
        Persons of a demo.
    broker_s : float
        How long the broker may take to answer, in seconds.
    """
    metrics = metrics or Metrics()
    seals = Seals(secret)
    limits = settings.limits
    async with (
        Millrace(
            connection,
            asker_id=name,
            reply_partition=reply_partition,
            timeout_s=broker_s,
            max_pending=2 * limits.concurrent,
        ) as millrace,
        RecentEnds(connection).running() as answers,
    ):
        health = Health(millrace.ping, metrics)
        admission = Admission(limits, health, metrics)
        questions = Questions(
            millrace,
            settings,
            admission=admission,
            seals=seals,
            replies=LogReplies(connection, codec_of(connection), broker_s),
            answers=answers,
            health=health,
            metrics=metrics,
        )
        async with health.watching():
            yield Service(
                millrace=millrace,
                identify=Identification(verifiers, admission, people),
                asking=questions,
                library=library,
                admission=admission,
                seals=seals,
                health=health,
                metrics=metrics,
                embedder=embedder,
            )


class RecentEnds:
    """How recent questions ended, read from the log; begins anew where the log was lost."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._view: RecentAnswers | None = None

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        """First terminal record of a tenant's question; None where it is not known."""
        return None if self._view is None else self._view.find(tenant, correlation)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RecentEnds]:
        """Read while the context is open."""
        keeping = asyncio.create_task(self._keep(), name="millrace-gateway-ends")
        try:
            yield self
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            if self._view is not None:
                await self._view.stop()

    async def _keep(self) -> None:
        while True:
            if self._view is not None and self._view.failure is not None:
                await self._view.stop()
                self._view = None
            if self._view is None:
                try:
                    self._view = await self._started()
                except MillraceError as error:
                    log.warning("the ends of questions cannot be read: %s", error)
            await asyncio.sleep(_LOOK_S)

    async def _started(self) -> RecentAnswers:
        view = RecentAnswers(
            self._connection.aiokafka(),
            codec=codec_of(self._connection),
            fetch_max_wait_ms=self._connection.fetch_max_wait_ms,
        )
        await view.start()
        return view
