"""What the gateway counts, with the names in one place; labels are bounded, and no tenant is one of them."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters of one gateway, in a registry of their own.

    Attributes
    ----------
    registry : CollectorRegistry
        Holds them; others may add theirs.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "millrace_gateway_requests_total",
            "Requests by route template, method and class of status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "millrace_gateway_request_duration_seconds",
            "From the head of a request to the head of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_frame_seconds = Histogram(
            "millrace_gateway_first_frame_seconds",
            "From a question to the first frame of its reply.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.questions = Counter(
            "millrace_gateway_questions_total",
            "Questions by how they ended: completed, failed, retracted, refused, abandoned, left.",
            ("outcome",),
            registry=self.registry,
        )
        self.refused = Counter(
            "millrace_gateway_refused_total",
            "Requests that were not let in, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.pending = Gauge(
            "millrace_gateway_pending_questions", "Questions that wait for an answer.", registry=self.registry
        )
        self.streams = Gauge(
            "millrace_gateway_open_streams", "Streams of events that are open.", registry=self.registry
        )
        self.loop_lag_seconds = Gauge(
            "millrace_gateway_loop_lag_seconds",
            "How late the event loop was when it was looked at last.",
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
