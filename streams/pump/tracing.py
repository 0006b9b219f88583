"""Spans of what a pump does beside the agent: sending outputs, and giving an input up."""

from collections.abc import Awaitable, Callable

from millrace.codec import Codec, ConsumedRecord
from millrace.dead_letters import SUFFIX
from millrace.telemetry import TraceContext, Tracer, names
from millrace.telemetry.tracing import Value, context_of, ended, trace_id_of, undecided
from streams.producer import Producer
from streams.pump.delivery import Delivery, Note


class TracedDelivery(Delivery):
    """A delivery with a span of the wait for its acknowledgements, below the work that gave the first output.

    Parameters
    ----------
    tracer : Tracer
        Makes the span.
    """

    def __init__(
        self, tracer: Tracer, codec: Codec, producer: Producer, guard: Callable[[], Awaitable[None]], note: Note
    ) -> None:
        super().__init__(codec, producer, guard, note)
        self._tracer = tracer

    async def settle(self) -> None:
        """See `Delivery.settle`."""
        outputs = self._sent or [output.event for output in self._last]
        if not outputs or not (context := context_of(outputs[0].meta)).wanted:
            await super().settle()
            return
        span = self._tracer.start("publish", "producer", context, attributes={names.MESSAGING_SYSTEM: "kafka"})
        span.set(names.MESSAGING_OPERATION, "send")
        span.set(names.OUTPUTS, self.n_sent + len(self._last))
        with ended(span):
            await super().settle()


def trace_letter(tracer: Tracer, record: ConsumedRecord, error: BaseException, agent: str) -> None:
    """Make a span of a record that was given up, below what produced it, if its trace is sampled."""
    headers = dict(record.headers)
    context = TraceContext(*(headers.get(name, b"").decode("ascii", "replace") for name in TraceContext._fields))
    if not context.traceparent and (identity := headers.get("ce_correlationid") or headers.get("ce_id")):
        context = undecided(trace_id_of(identity.decode("utf-8", "replace")))
    if not context.wanted:
        return
    attributes: dict[str, Value] = {
        names.GEN_AI_AGENT: agent,
        names.MESSAGING_SYSTEM: "kafka",
        names.MESSAGING_OPERATION: "send",
        names.MESSAGING_DESTINATION: f"{record.topic}{SUFFIX}",
        names.MESSAGING_OFFSET: record.offset,
    }
    span = tracer.start("dead letter", "producer", context, attributes=attributes)
    span.fail(error)
    span.end()
