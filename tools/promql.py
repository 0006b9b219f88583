"""Queries of declared metrics in Prometheus' language: no name and no label in them is written by hand."""

from typing import Final

from millrace.telemetry.metrics import Metric

WINDOW: Final = "5m"


def rate(metric: Metric, *by: str, window: str = WINDOW, where: str = "") -> str:
    """How many a second, of a counter."""
    return f"{_sum(metric, by)} (rate({_of(metric, 'counter', where)}[{window}]))"


def increase(metric: Metric, *by: str, window: str = WINDOW, where: str = "") -> str:
    """How many within a window, of a counter."""
    return f"{_sum(metric, by)} (increase({_of(metric, 'counter', where)}[{window}]))"


def ratio(metric: Metric, where: str, *by: str) -> str:
    """Share of a counter's increments that have a label."""
    return f"{rate(metric, *by, where=where)} / {rate(metric, *by)}"


def gauge(metric: Metric, how: str, *by: str) -> str:
    """A gauge over all processes; `how` is ``sum``, ``min``, ``max`` or ``avg``."""
    if how not in {"sum", "min", "max", "avg"}:
        raise ValueError(f"gauges are put together by sum, min, max or avg, found {how!r}")
    return f"{how}{_by(metric, by)} ({_of(metric, 'gauge')})"


def quantile(metric: Metric, q: float, *by: str) -> str:
    """Quantile of a histogram."""
    labels = ", ".join(("le", *_known(metric, by)))
    return f"histogram_quantile({q:g}, sum by ({labels}) (rate({_of(metric, 'histogram')}_bucket[{WINDOW}])))"


def _sum(metric: Metric, by: tuple[str, ...]) -> str:
    return f"sum{_by(metric, by)}"


def _by(metric: Metric, by: tuple[str, ...]) -> str:
    return f" by ({', '.join(_known(metric, by))})" if by else ""


def _of(metric: Metric, kind: str, where: str = "") -> str:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is a {metric.kind}, and this asks for a {kind}")
    if where:
        _known(metric, (where.partition("=")[0].rstrip("!"),))
    return f"{metric.name}{{{where}}}" if where else metric.name


def _known(metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := set(labels) - {*metric.labels, "instance"}:
        raise ValueError(f"{metric.name} has no label {min(unknown)!r}, it has {', '.join(metric.labels) or 'none'}")
    return labels
