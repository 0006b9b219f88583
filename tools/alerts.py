"""Alerts: when a person should look, why, and where it says what to do."""

from typing import Final, Literal, NamedTuple

from millrace.telemetry import metrics as m
from tools.promql import gauge, increase, quantile, rate, ratio

RUNBOOK: Final = "docs/how-to/see-what-happens.md"
FAILED: Final = 'outcome="failed"'
INCOMPLETE: Final = 'outcome="incomplete"'
SERVER_ERROR: Final = 'status="5xx"'


class Alert(NamedTuple):
    """One rule.

    Attributes
    ----------
    lasts : str
        How long the expression must hold.
    severity : {"page", "ticket"}
        Whether somebody is woken.
    """

    name: str
    group: str
    expression: str
    lasts: str
    severity: Literal["page", "ticket"]
    summary: str


ALERTS: Final = (
    Alert(
        "MillraceDown", "workers", 'up{job=~"millrace-.+"} == 0', "2m", "page",
        "{{ $labels.job }} at {{ $labels.instance }} does not answer.",
    ),
    Alert(
        "MillraceWorkerNotReady", "workers", f"{gauge(m.WORKER_READY, 'min', 'instance')} == 0", "5m", "page",
        "Worker {{ $labels.instance }} has not served for five minutes.",
    ),
    Alert(
        "MillraceWorkerStuck", "workers", f"{gauge(m.WORKER_ALIVE, 'min', 'instance')} == 0", "2m", "page",
        "Worker {{ $labels.instance }} makes no progress.",
    ),
    Alert(
        "MillraceLagGrows", "agents",
        f"{gauge(m.CONSUMER_LAG, 'sum', 'agent')} > 1000 and sum by (agent) (deriv({m.CONSUMER_LAG.name}[10m])) > 0",
        "10m", "page", "Agent {{ $labels.agent }} is {{ $value }} events behind, and falls back further.",
    ),
    Alert(
        "MillraceDeadLetters", "agents", f"{increase(m.EVENTS_DEAD_LETTERED, 'agent', window='15m')} > 0", "0m",
        "ticket", "Agent {{ $labels.agent }} gave up inputs.",
    ),
    Alert(
        "MillraceFailures", "agents",
        f"{rate(m.EVENTS_FAILED, 'agent')} > 0.05 * {rate(m.EVENTS_CONSUMED, 'agent')}", "10m", "page",
        "More than one in twenty inputs of agent {{ $labels.agent }} fails.",
    ),
    Alert(
        "MillraceSlow", "agents", f"{quantile(m.HANDLING_SECONDS, 0.99, 'agent')} > 10", "15m", "ticket",
        "One in a hundred inputs of agent {{ $labels.agent }} takes {{ $value }} s.",
    ),
    Alert(
        "MillraceCommitsFail", "agents", f"{rate(m.COMMITS, 'agent', where=FAILED)} > 0", "10m", "ticket",
        "Offsets of agent {{ $labels.agent }} cannot be committed.",
    ),
    Alert(
        "MillraceVisibilityStale", "visibility", f"{gauge(m.VISIBILITY_AGE, 'max', 'instance')} > 5", "1m", "page",
        "Worker {{ $labels.instance }} refuses questions: the end of the log was confirmed {{ $value }} s ago.",
    ),
    Alert(
        "MillraceRecordsPassedOver", "visibility", f"{increase(m.UNDECODABLE, window='15m')} > 0", "0m", "page",
        "Records about visibility cannot be read; if they change access, questions are refused.",
    ),
    Alert(
        "MillraceModelAway", "models", f"{gauge(m.MODEL_AVAILABLE, 'min', 'model')} == 0", "2m", "page",
        "Model {{ $labels.model }} does not answer.",
    ),
    Alert(
        "MillraceStoreFails", "stores", f"{rate(m.STORE_FAILURES, 'operation')} > 0", "5m", "page",
        "The vector store fails to {{ $labels.operation }}.",
    ),
    Alert(
        "MillraceScansIncomplete", "guards", f"{ratio(m.SCANS, INCOMPLETE)} > 0.01", "15m", "ticket",
        "More than one scan in a hundred runs into its time limit.",
    ),
    Alert(
        "MillraceSpansDropped", "telemetry", f"{rate(m.SPANS_DROPPED)} > 0", "10m", "ticket",
        "Spans are dropped: the collector is away or too slow.",
    ),
    Alert(
        "MillraceGatewayFails", "gateway", f"{ratio(m.GATEWAY_REQUESTS, SERVER_ERROR)} > 0.01", "5m", "page",
        "More than one request in a hundred fails.",
    ),
    Alert(
        "MillraceGatewaySheds", "gateway", f"{rate(m.GATEWAY_REFUSED, 'reason')} > 1", "10m", "ticket",
        "The gateway turns requests away: {{ $labels.reason }}.",
    ),
    Alert(
        "MillraceFirstFrameSlow", "gateway", f"{quantile(m.GATEWAY_FIRST_FRAME, 0.99)} > 5", "15m", "ticket",
        "One question in a hundred waits {{ $value }} s for its first frame.",
    ),
)  # fmt: skip
"""All of them."""
