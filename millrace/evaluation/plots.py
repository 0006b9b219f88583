"""Plots of a run, as SVG."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from millrace.evaluation.measures import Measured
from millrace.evaluation.run import Results
from millrace.reports.drawing import OTHER, OURS, WIDTH_IN, WRONG, styled, svg

_PLACES = 10


def plots(results: Results) -> list[tuple[str, str]]:
    """Titles and SVG documents; those that have nothing to show are left out."""
    with styled():
        return [(title, drawn) for title, drawn in (
            ("Measures with 95 % confidence intervals", measures_plot(results.measured)),
            ("Differences from the other run, with 95 % intervals", measures_plot(results.differences, signed=True)),
            ("Place of the first right chunk", _places(results)),
            ("Time from question to answer", _latency(results)),
            ("Signal that an answer depends on", _signal(results)),
        ) if drawn]  # fmt: skip


def measures_plot(measured: Sequence[Measured], *, signed: bool = False) -> str:
    """Shares with their intervals, one a line; empty where there is none."""
    shown = [(each.measure, each.found) for each in measured if each.measure.unit == "share" and each.found is not None]
    if not shown:
        return ""
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(shown))
    values = np.array([found.value for _, found in shown])
    around = np.array([(found.value - found.low, found.high - found.value) for _, found in shown]).T
    axes.errorbar(values, rows, xerr=np.maximum(around, 0), fmt="o", color=OURS, capsize=3)
    axes.set_yticks(rows, [measure.title for measure, _ in shown])
    axes.invert_yaxis()
    if signed:
        most = max(0.05, *(abs(bound) for _, found in shown for bound in (found.low, found.high)))
        axes.set_xlim(-1.05 * most, 1.05 * most)
        axes.axvline(0, color="#444444", linewidth=1)
    else:
        axes.set_xlim(0, 1.02)
    return svg(figure)


def _places(results: Results) -> str:
    first = [(each.right_places or (0,))[0] for each in results.run.judgements if each.expected]
    if not first:
        return ""
    labels = [*map(str, range(1, _PLACES + 1)), f"> {_PLACES}", "none"]
    counts = [first.count(place) for place in range(1, _PLACES + 1)]
    counts += [sum(place > _PLACES for place in first), first.count(0)]
    figure = Figure(figsize=(WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(labels, counts, color=[*[OURS] * (_PLACES + 1), WRONG])
    axes.bar_label(bars)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("questions")
    return svg(figure)


def _latency(results: Results) -> str:
    figure = Figure(figsize=(WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for run, color, name in ((results.against, OTHER, "the other run"), (results.run, OURS, "this run")):
        times = [each.latency_ms for each in run.judgements if each.status != "failed"] if run is not None else []
        if times:
            axes.ecdf(times, color=color, label=name)
            drawn = True
    if not drawn:
        return ""
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("share of questions")
    if results.against is not None:
        axes.legend()
    return svg(figure)


def _signal(results: Results) -> str:
    known = [each for each in results.run.judgements if each.signal is not None]
    groups = (
        ("something answers it", OURS, [each.signal for each in known if each.answerable]),
        ("nothing answers it", WRONG, [each.signal for each in known if each.unanswerable]),
    )
    values = [value for _, _, found in groups for value in found if value is not None]
    if not values:
        return ""
    figure = Figure(figsize=(WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(min(values), max(values) + 1e-9, 31)
    for name, color, found in groups:
        if found:
            weights = np.full(len(found), 1 / len(found))
            axes.hist(np.array(found, dtype=float), edges.tolist(), weights=weights, color=color, alpha=0.6, label=name)
    axes.set_xlabel("signal")
    axes.set_ylabel("share of the questions")
    axes.legend()
    return svg(figure)
