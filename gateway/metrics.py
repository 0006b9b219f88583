"""What the gateway counts, as `millrace.telemetry.metrics` declares it; labels are bounded, and none is a tenant."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from millrace.telemetry import metrics as declared
from millrace.telemetry.metrics import Metric

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one gateway, in a registry of their own.

    Attributes
    ----------
    registry : CollectorRegistry
        Holds them; others may add theirs.
    requests, refused : Counter
        By route template, method and class of status; by the name of the problem.
    questions : Counter
        By how they ended: completed, failed, retracted, refused, abandoned, left.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = self._counter(declared.GATEWAY_REQUESTS)
        self.request_seconds = self._histogram(declared.GATEWAY_SECONDS)
        self.first_frame_seconds = self._histogram(declared.GATEWAY_FIRST_FRAME)
        self.questions = self._counter(declared.GATEWAY_QUESTIONS)
        self.refused = self._counter(declared.GATEWAY_REFUSED)
        self.pending = self._gauge(declared.GATEWAY_PENDING)
        self.streams = self._gauge(declared.GATEWAY_STREAMS)
        self.loop_lag_seconds = self._gauge(declared.GATEWAY_LOOP_LAG)

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.bounds, registry=self.registry)
