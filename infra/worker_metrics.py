"""What a running worker says when Prometheus asks: numbers of its pumps, of its view of the log, of its models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final, Protocol

from infra.metrics import Metrics, Sample
from infra.tracing import Tracing
from millrace.event import Event
from millrace.telemetry import metrics as m
from streams.pump.delivery import Note
from streams.pump.settings import Counters
from streams.worker import Worker

_COUNT_EVERY_S: Final = 60.0  # every document is looked at


class View(Protocol):
    """The visibility table of a worker."""

    n_undecodable: int

    @property
    def behind(self) -> int:
        """Events that it has yet to fold."""

    @property
    def confirmed_age_s(self) -> float | None:
        """Seconds since the end of the log was confirmed."""

    def size(self) -> tuple[int, int]:
        """Visible documents and chunks."""


class Models(Protocol):
    """A model server's client."""

    def available(self) -> Mapping[str, bool]:
        """Whether calls pass, by name of the model."""


def counted(notes: Mapping[str, Note], agents: Iterable[str], metrics: Metrics) -> dict[str, Note]:
    """Notes by agent, each of which also counts what its acknowledged events stand for."""
    return {name: _both(notes[name], metrics.note) if name in notes else metrics.note for name in agents}


def _both(first: Note, second: Note) -> Note:
    def note(event: Event) -> None:
        first(event)
        second(event)

    return note


class WorkerSamples:
    """Samples of one worker; hand it to `Metrics.read`.

    Parameters
    ----------
    worker : callable
        The worker, or None while there is none yet.
    view : View, optional
        Its visibility table.
    models : Models, optional
        The model server that it asks.
    tracing : Tracing, optional
        What sends its spans.
    """

    def __init__(
        self,
        worker: Callable[[], Worker | None],
        *,
        view: View | None = None,
        models: Models | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._worker = worker
        self._view = view
        self._models = models
        self._tracing = tracing
        self._size: tuple[float, tuple[int, int]] | None = None

    def __call__(self) -> Iterator[Sample]:
        """All samples, now."""
        worker = self._worker()
        yield Sample(m.WORKER_INFO, (version("millrace"),), 1)
        yield Sample(m.WORKER_READY, (), worker is not None and worker.ready)
        yield Sample(m.WORKER_ALIVE, (), worker is None or worker.alive)
        if worker is not None:
            yield from _agents(worker)
        if self._view is not None:
            yield from self._visibility(self._view)
        if self._models is not None:
            for name, good in self._models.available().items():
                yield Sample(m.MODEL_AVAILABLE, (name,), good)
        if self._tracing is not None:
            yield Sample(m.SPANS_EXPORTED, (), self._tracing.exported)
            yield Sample(m.SPANS_DROPPED, (), self._tracing.dropped)

    def _visibility(self, view: View) -> Iterator[Sample]:
        age_s = view.confirmed_age_s
        now = time.monotonic()
        if self._size is None or now - self._size[0] > _COUNT_EVERY_S:
            self._size = (now, view.size())
        documents, chunks = self._size[1]
        yield Sample(m.VISIBILITY_LAG, (), view.behind)
        yield Sample(m.VISIBILITY_AGE, (), -1 if age_s is None else age_s)
        yield Sample(m.UNDECODABLE, (), view.n_undecodable)
        yield Sample(m.VISIBLE_DOCUMENTS, (), documents)
        yield Sample(m.VISIBLE_CHUNKS, (), chunks)


def _agents(worker: Worker) -> Iterator[Sample]:
    for pump in worker.pumps:
        agent = (pump.spec.name,)
        yield from _counted(pump.spec.name, pump.counters)
        yield Sample(m.CONSUMER_LAG, agent, pump.lag)
        yield Sample(m.EVENTS_IN_FLIGHT, agent, pump.in_flight)
        yield Sample(m.EVENTS_PARKED, agent, len(pump.parking))
    for table in worker.tables:
        yield from _counted(table.spec.name, table.counters)
        yield Sample(m.KEYS_FORGOTTEN, (table.spec.name,), table.counters.crowded_out)


def _counted(name: str, counters: Counters) -> Iterator[Sample]:
    agent = (name,)
    yield Sample(m.EVENTS_CONSUMED, agent, counters.consumed)
    yield Sample(m.EVENTS_EMITTED, agent, counters.emitted)
    yield Sample(m.EVENTS_RETRIED, agent, counters.retried)
    yield Sample(m.EVENTS_DEAD_LETTERED, agent, counters.dead_lettered)
    yield Sample(m.COMMITS, (name, "ok"), counters.commits)
    yield Sample(m.COMMITS, (name, "failed"), counters.failed_commits)
    for (kind, stage), n in list(counters.errors.items()):
        yield Sample(m.EVENTS_FAILED, (name, stage, kind), n)
    yield Sample(m.HANDLING_SECONDS, agent, counters.seconds.sum_s, counters.seconds.counts)
    sizes = [counters.batch_sizes[int(bound)] for bound in m.SIZES]
    larger = sum(n for size, n in counters.batch_sizes.items() if size > m.SIZES[-1])
    yield Sample(m.BATCH_EVENTS, agent, counters.batched, [*sizes, larger])
