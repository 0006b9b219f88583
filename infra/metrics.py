"""Metrics of a process for Prometheus: what `millrace.telemetry.metrics` declares, filled by prometheus-client.

What a pump counts is read when Prometheus asks, so an event pays nothing; calls of models and stores, which are few
and slow, are counted as they happen. The value of a label is checked: whatever it is, the number of series is bounded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from millrace.event import Event
from millrace.telemetry import metrics as declared
from millrace.telemetry.metrics import Metric

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OTHER: Final = "other"
MAX_VALUES: Final = 100
_NOTED: Final = {
    "VerdictGiven": declared.VERDICTS,
    "DriftDetected": declared.DRIFT_DETECTED,
    "TrainingRequested": declared.TRAINING_REQUESTED,
}
"""Metrics that count events, by the name of their class; each label is a field."""
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:/{}-]{1,80}")


class Sample(NamedTuple):
    """Value of a metric now; of a histogram, its buckets (not cumulated, the last is of what is above all) and sum."""

    metric: Metric
    labels: tuple[str, ...]
    value: float
    buckets: Sequence[int] = ()


class Labels:
    """Lets so many values of each label through and calls the others ``other``, as it does what is no plain name."""

    def __init__(self, most: int = MAX_VALUES) -> None:
        self._most = most
        self._known: dict[str, set[str]] = defaultdict(set)

    def __call__(self, metric: Metric, values: Sequence[str]) -> tuple[str, ...]:
        """Values as they may be used.

        Raises
        ------
        ValueError
            There are not as many as the metric has labels.
        """
        if len(values) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, found {len(values)} values")
        return tuple(self._bounded(f"{metric.name}/{name}", v) for name, v in zip(metric.labels, values, strict=True))

    def _bounded(self, label: str, value: str) -> str:
        known = self._known[label]
        if value in known:
            return value
        if len(known) >= self._most or not _VALUE.fullmatch(value):
            return OTHER
        known.add(value)
        return value


class Metrics:
    """Metrics of one process.

    Attributes
    ----------
    registry : CollectorRegistry
        Holds them; others may add collectors of their own.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._labels = Labels()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        ProcessCollector(registry=self.registry)

    def add(self, metric: Metric, *labels: str, n: float = 1.0) -> None:
        """Add to a counter."""
        found = self._counters.get(metric.name)
        if found is None:
            found = self._counters[metric.name] = Counter(
                metric.name, metric.help, metric.labels, registry=self.registry
            )
        (found.labels(*self._labels(metric, labels)) if metric.labels else found).inc(n)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        found = self._histograms.get(metric.name)
        if found is None:
            found = self._histograms[metric.name] = Histogram(
                metric.name, metric.help, metric.labels, buckets=metric.bounds, registry=self.registry
            )
        (found.labels(*self._labels(metric, labels)) if metric.labels else found).observe(value)

    def read(self, source: Callable[[], Iterable[Sample]]) -> None:
        """Have samples read when somebody asks."""
        self.registry.register(_Reader(source, self._labels))

    def note(self, event: Event) -> None:
        """Count what an acknowledged event stands for: a verdict, a change of traffic, a request for training."""
        metric = _NOTED.get(type(event).__name__)
        if metric is not None:
            self.add(metric, *(str(getattr(event, name, "")) for name in metric.labels))

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


class _Reader(Collector):
    """Families of what a source says now."""

    def __init__(self, source: Callable[[], Iterable[Sample]], labels: Labels) -> None:
        self._source = source
        self._labels = labels

    def describe(self) -> Iterable[Family]:
        return ()

    def collect(self) -> Iterator[Family]:
        by_metric: dict[str, list[Sample]] = defaultdict(list)
        for sample in self._source():
            by_metric[sample.metric.name].append(sample)
        for samples in by_metric.values():
            yield self._family(samples[0].metric, samples)

    def _family(self, metric: Metric, samples: Iterable[Sample]) -> Family:
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for sample in samples:
                labels = self._labels(metric, sample.labels)
                histogram.add_metric(labels, _cumulated(metric.bounds, sample.buckets), sample.value)
            return histogram
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for sample in samples:
            family.add_metric(self._labels(metric, sample.labels), sample.value)
        return family


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    found, so_far = [], 0
    for name, n in zip([*(f"{bound:g}" for bound in bounds), "+Inf"], counts, strict=True):
        so_far += n
        found.append((name, float(so_far)))
    return found
