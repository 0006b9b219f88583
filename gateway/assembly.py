"""Put a gateway's parts together for one stack, and take them apart again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from gateway.admission import Admission
from gateway.health import BROKER_S, Health
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
from millrace.telemetry import Tracer
from streams.visibility.answers import RecentAnswers

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_READ_S: Final = 10.0


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway among several, as the broker sees it.

    Attributes
    ----------
    name : str
        Chooses the partition that replies come on.
    reply_partition : int or None
        That partition, where it is assigned.
    broker_s : float
        How long the broker may take to answer, in seconds.
    """

    name: str = ""
    reply_partition: int | None = None
    broker_s: float = BROKER_S


_ALONE: Final = Replica()


@asynccontextmanager
async def assembled(
    connection: Connection,
    settings: GatewaySettings,
    *,
    library: Library,
    verifiers: Sequence[Verifier],
    secret: bytes,
    replica: Replica = _ALONE,
    metrics: Metrics | None = None,
    embedder: Embedder | None = None,
    people: People | None = None,
    tracer: Tracer | None = None,
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
    replica : Replica
        Which one it is.
    metrics : Metrics, optional
        Where it counts.
    embedder : Embedder, optional
        Embeds texts for callers.
    people : People, optional
        Persons of a demo.
    tracer : Tracer, optional
        Makes a span of each question.
    """
    metrics = metrics or Metrics()
    seals = Seals(secret)
    limits = settings.limits
    async with (
        Millrace(
            connection,
            asker_id=replica.name,
            reply_partition=replica.reply_partition,
            timeout_s=replica.broker_s,
            max_pending=2 * limits.concurrent,
            tracer=tracer,
        ) as millrace,
        RecentEnds(connection).running() as answers,
    ):
        health = Health(millrace.ping, metrics, replica.broker_s)
        admission = Admission(limits, health, metrics)
        questions = Questions(
            millrace,
            settings,
            admission=admission,
            seals=seals,
            replies=LogReplies(connection, codec_of(connection), _READ_S),
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
