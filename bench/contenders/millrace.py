"""Millrace: an agent on a pump with default settings, exactly as a worker runs it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bench.contenders.job import Job, Stopwatch
from bench.measure import Sample
from bench.readings import EVENTS, ReadingChecked, ReadingTaken, reading_topic
from infra.settings import TelemetrySettings
from infra.tracing import Tracing
from millrace.agent import agent, spec_of
from millrace.codec import Codec, Record
from streams.producer import Ack, Producer
from streams.pump import Pump, PumpSettings


class _Remembering(Producer):
    """Keeps the futures of the last sends, to know when all are acknowledged."""

    def __init__(self, job: Job, on_end: Callable[[], None]) -> None:
        super().__init__({"bootstrap_servers": job.bootstrap})
        self._n, self._on_end = job.n, on_end
        self.acks: deque[Ack] = deque(maxlen=20_000)
        self.n_sent = 0

    async def send(self, record: Record) -> Ack:
        ack = await super().send(record)
        self.acks.append(ack)
        self.n_sent += 1
        if self.n_sent == self._n:
            self._on_end()
        return ack


def run(job: Job) -> Sample:
    """Consume, or consume and produce."""
    return asyncio.run(_run(job))


def checked(event: ReadingTaken) -> ReadingChecked:
    """The output for an input."""
    return ReadingChecked(
        tenant=event.tenant,
        sensor=event.sensor,
        sequence=event.sequence,
        value=event.value,
        within_limits=event.value < 1000,
    )


async def _run(job: Job) -> Sample:
    ended = asyncio.Event()
    count = Stopwatch(job, on_end=lambda: None if job.sink else ended.set())
    source = reading_topic(job.source, ReadingTaken)
    sinks = (reading_topic(job.sink, ReadingChecked),) if job.sink else ()

    def handle(event: ReadingTaken) -> ReadingChecked | None:
        count(event)
        return checked(event) if job.sink else None

    async def begin(event: ReadingTaken) -> ReadingChecked | None:
        return handle(event)

    async def wait(event: ReadingTaken) -> ReadingChecked | None:
        await asyncio.sleep(0)
        return handle(event)

    function = {"function": handle, "coroutine": begin, "waiting": wait}[job.agent]
    _ = agent(source=source, sinks=sinks, name="handle")(function)

    producer = _Remembering(job, ended.set)
    await producer.start()
    tracing = _tracing(job)
    pump = Pump(
        spec_of(function),
        codec=Codec(EVENTS),
        producer=producer,
        connection={"bootstrap_servers": job.bootstrap},
        settings=PumpSettings(group_prefix=f"{job.group}."),
        tracer=tracing.tracer if tracing is not None else None,
    )
    await pump.start()
    await ended.wait()
    if job.sink:
        for ack in producer.acks:
            await ack
        count.stop()
    sample = count.sample()
    await pump.stop()
    await producer.stop()
    if tracing is not None:
        tracing.stop()
    return sample


def _tracing(job: Job) -> Tracing | None:
    """Spans into an exporter that forgets them: what is measured is what the worker pays, not the collector."""
    if job.traces == "off":
        return None
    settings = TelemetrySettings(export=True, sample_ratio=float(job.traces == "all"), queue=1_000_000)
    return Tracing(settings, _Forgetting(), instance="bench")


class _Forgetting(SpanExporter):
    """Takes everything and keeps nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the library's signature
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """There is nothing to end."""
