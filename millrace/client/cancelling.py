"""Tell the workers that nobody waits for an answer any more."""

import asyncio
import contextlib

from millrace.client.producing import EventProducer
from millrace.errors import MillraceError
from millrace.event import Event
from millrace.events.query import QueryCancelled
from millrace.telemetry import TraceContext
from millrace.telemetry.tracing import undecided


class Canceller:
    """Publishes cancellations beside whatever goes on: best effort, bounded, and nobody waits for it but `stop`.

    A cancellation that is lost costs an answer that nobody reads.

    Parameters
    ----------
    most : int
        Cancellations that may be on their way at the same time; further ones are dropped and counted.
    """

    def __init__(self, producer: EventProducer, *, most: int) -> None:
        self._producer = producer
        self._most = most
        self._sending: set[asyncio.Task[None]] = set()
        self.n_dropped = 0

    def cancel(self, tenant: str, conversation: str, correlation: str, trace: TraceContext | None = None) -> None:
        """Send a cancellation in the background; its id is the question's, so that sending it twice changes nothing."""
        if len(self._sending) >= self._most:
            self.n_dropped += 1
            return
        trace = trace or undecided(correlation)
        event = self._producer.with_meta(
            QueryCancelled(tenant=tenant, conversation=conversation, correlation=correlation),
            correlation_id=correlation,
            traceparent=trace.traceparent,
            tracestate=trace.tracestate,
        )
        sending = asyncio.create_task(self._send(event), name="millrace-cancel")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def stop(self, timeout_s: float) -> None:
        """Wait for what is on its way, at most `timeout_s` seconds."""
        if not self._sending:
            return
        _, late = await asyncio.wait(self._sending, timeout=timeout_s)
        for sending in late:
            sending.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _send(self, event: Event) -> None:
        with contextlib.suppress(MillraceError):
            await self._producer.produce(self._producer.encode(event))
