"""Every metric, declared once: name, help, kind, labels. Workers, dashboards, alerts and the reference follow from it.

Names are ``millrace_<name>_<unit>``, counters end with ``_total``. A label has few values, known beforehand or bounded
by the code (agents, stages, types of errors, topics); no tenant, user or document is ever one.
"""

from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Part = Literal["agents", "visibility", "models", "stores", "guards", "telemetry", "worker", "gateway", "learning"]

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of histograms of durations."""
SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Bounds of histograms of batches."""

LABELS: Final = {
    "action": "What a guard did: allow, flag, mask, block, retract, hold.",
    "agent": "Agent, or fused run.",
    "error_type": "Type in the tree of errors; `exception` for what is outside it.",
    "kind": "What a rule is about: injection, hidden_text, personal_data, secret, link and so on.",
    "method": "HTTP method.",
    "model": "Name of a model that is served.",
    "operation": "What a store was asked to do.",
    "outcome": "How it ended.",
    "reason": "Why a request was not let in.",
    "route": "Template of a route, never a path.",
    "signal": "What drift is looked for in.",
    "stage": "Stage of a fused run, else the agent.",
    "status": "Class of an HTTP status.",
    "version": "Version of Millrace.",
}
"""Labels that exist, and what their values are."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes
    ----------
    bounds : tuple of float
        Upper bounds of a histogram's buckets.
    """

    name: str
    kind: Kind
    help: str
    part: Part
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the time series that Prometheus stores."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
        return (self.name,)


def _counter(name: str, about: str, part: Part, *labels: str) -> Metric:
    return Metric(name=f"millrace_{name}_total", kind="counter", help=about, part=part, labels=labels)


def _gauge(name: str, about: str, part: Part, *labels: str) -> Metric:
    return Metric(name=f"millrace_{name}", kind="gauge", help=about, part=part, labels=labels)


def _seconds(name: str, about: str, part: Part, *labels: str) -> Metric:
    return Metric(
        name=f"millrace_{name}_seconds", kind="histogram", help=about, part=part, labels=labels, bounds=SECONDS
    )


EVENTS_CONSUMED: Final = _counter("events_consumed", "Events read.", "agents", "agent")
EVENTS_EMITTED: Final = _counter("events_emitted", "Events sent and acknowledged.", "agents", "agent")
EVENTS_FAILED: Final = _counter(
    "events_failed", "Failures of an input, repetitions too.", "agents", "agent", "stage", "error_type"
)
EVENTS_RETRIED: Final = _counter("events_retried", "Inputs put back to be tried again.", "agents", "agent")
EVENTS_DEAD_LETTERED: Final = _counter("events_dead_lettered", "Dead letters written.", "agents", "agent")
KEYS_FORGOTTEN: Final = _counter(
    "table_keys_forgotten", "Keys of a table forgotten because their tenant or user had too many.", "agents", "agent"
)
EVENTS_IN_FLIGHT: Final = _gauge("events_in_flight", "Inputs at work now, in lanes.", "agents", "agent")
EVENTS_PARKED: Final = _gauge("events_parked", "Inputs that wait beside the lanes.", "agents", "agent")
HANDLING_SECONDS: Final = _seconds(
    "event_handling",
    "From the start of an input until its outputs are acknowledged; of an agent run in place until they are sent.",
    "agents",
    "agent",
)
BATCH_EVENTS: Final = Metric(
    name="millrace_batch_events",
    kind="histogram",
    help="Events in a batch.",
    part="agents",
    labels=("agent",),
    bounds=SIZES,
)
CONSUMER_LAG: Final = _gauge(
    "consumer_lag_events", "Events between the committed offsets and the ends.", "agents", "agent"
)
COMMITS: Final = _counter("commits", "Commits of offsets: ok, failed.", "agents", "agent", "outcome")

VISIBILITY_LAG: Final = _gauge(
    "visibility_lag_events", "Events that the visibility table has yet to fold.", "visibility"
)
VISIBILITY_AGE: Final = _gauge(
    "visibility_confirmed_age_seconds",
    "Since the end of the log was last confirmed; above 5 questions are refused. -1 before the first time.",
    "visibility",
)
VISIBLE_DOCUMENTS: Final = _gauge("index_documents", "Visible documents, as this worker has folded.", "visibility")
VISIBLE_CHUNKS: Final = _gauge("index_chunks", "Visible chunks, as this worker has folded.", "visibility")
UNDECODABLE: Final = _counter("visibility_undecodable_events", "Records that the table passed over.", "visibility")

EMBEDDING_CALLS: Final = _counter(
    "embedding_calls", "Calls of the embedder: ok, or a type of error.", "models", "outcome"
)
EMBEDDING_TEXTS: Final = _counter("embedding_texts", "Texts embedded.", "models")
EMBEDDING_SECONDS: Final = _seconds("embedding", "A call of the embedder.", "models")
CACHE_LOOKUPS: Final = _counter(
    "embedding_cache_lookups", "Texts looked up in the embedding cache: hit, miss.", "models", "outcome"
)
MODEL_AVAILABLE: Final = _gauge(
    "model_available", "1 while calls of a served model pass, 0 while its breaker is open.", "models", "model"
)

STORE_SECONDS: Final = _seconds("store", "A call of the vector store.", "stores", "operation")
STORE_FAILURES: Final = _counter(
    "store_failures", "Calls of the vector store that failed.", "stores", "operation", "error_type"
)
PARSE_SECONDS: Final = _seconds("parse", "A document in the parsers, its wait included.", "stores")
PARSED: Final = _counter(
    "parsed_documents", "Documents that parsers were given: ok, or a type of error.", "stores", "outcome"
)

SCANS: Final = _counter(
    "scans", "Full scans of a text: clean, flagged, incomplete, or a type of error.", "guards", "outcome"
)
SCAN_SECONDS: Final = _seconds("scan", "A full scan of a text, its wait included.", "guards")
VERDICTS: Final = _counter("verdicts", "Verdicts of the guards.", "guards", "stage", "kind", "action")

DRIFT_DETECTED: Final = _counter("drift_detected", "Changes found in a tenant's traffic.", "learning", "signal")
TRAINING_REQUESTED: Final = _counter("training_requested", "Requests for training.", "learning", "model", "reason")

SPANS_EXPORTED: Final = _counter("spans_exported", "Spans sent.", "telemetry")
SPANS_DROPPED: Final = _counter(
    "spans_dropped", "Spans that did not fit into the queue or could not be sent.", "telemetry"
)

WORKER_READY: Final = _gauge("worker_ready", "1 while the worker serves.", "worker")
WORKER_ALIVE: Final = _gauge("worker_alive", "1 while the worker moves.", "worker")
WORKER_INFO: Final = _gauge("worker_info", "1, with the version.", "worker", "version")

GATEWAY_REQUESTS: Final = _counter(
    "gateway_requests", "Requests by route, method and class of status.", "gateway", "route", "method", "status"
)
GATEWAY_SECONDS: Final = _seconds(
    "gateway_request_duration", "From the head of a request to that of its response.", "gateway", "route"
)
GATEWAY_FIRST_FRAME: Final = _seconds(
    "gateway_first_frame", "From a question to the first frame of its reply.", "gateway"
)
GATEWAY_QUESTIONS: Final = _counter("gateway_questions", "Questions by how they ended.", "gateway", "outcome")
GATEWAY_REFUSED: Final = _counter("gateway_refused", "Requests that were not let in.", "gateway", "reason")
GATEWAY_PENDING: Final = _gauge("gateway_pending_questions", "Questions that wait for an answer.", "gateway")
GATEWAY_STREAMS: Final = _gauge("gateway_open_streams", "Streams of events that are open.", "gateway")
GATEWAY_LOOP_LAG: Final = _gauge(
    "gateway_loop_lag_seconds", "How late the event loop was when last looked at.", "gateway"
)

METRICS: Final = {found.name: found for found in tuple(globals().values()) if isinstance(found, Metric)}
"""All of them, by name."""
