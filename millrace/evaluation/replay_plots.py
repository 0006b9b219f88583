"""Plots of a replay, as SVG."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from millrace.evaluation.plots import measures_plot
from millrace.evaluation.replayed import VERDICTS, Compared, Replay
from millrace.reports.drawing import OTHER, OURS, WIDTH_IN, WRONG, styled, svg

_COLORS = {"identical": OTHER, "changed": OURS, "better": "#1d6b3a", "worse": WRONG, "not compared": "#e2e5e9"}


def plots(replay: Replay, found: Compared) -> list[tuple[str, str]]:
    """Titles and SVG documents; those that have nothing to show are left out."""
    with styled():
        return [(title, drawn) for title, drawn in (
            ("What became of the questions", _verdicts(replay)),
            ("What the answers have in common, with 95 % intervals", measures_plot(found.agreement)),
            ("What now has over then, with 95 % intervals", measures_plot(found.differences, signed=True)),
            ("Why chunks differ", _bars(replay.changes)),
            ("Time in the stages", _latency(replay)),
            ("Signal that an answer depends on", _signal(replay)),
        ) if drawn]  # fmt: skip


def _verdicts(replay: Replay) -> str:
    counts = {name: replay.verdicts[name] for name in VERDICTS} | {"not compared": replay.incomplete.total()}
    figure = Figure(figsize=(WIDTH_IN, 1.4), layout="constrained")
    axes = figure.subplots()
    left = 0
    for name, n in counts.items():
        if n:
            bars = axes.barh([0], [n], left=left, color=_COLORS[name], label=f"{name} {n}")
            axes.bar_label(bars, label_type="center")
            left += n
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_xlabel("questions")
    axes.legend(ncols=len(VERDICTS) + 1, loc="upper center", bbox_to_anchor=(0.5, 1.6), frameon=False)
    return svg(figure)


def _bars(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    figure = Figure(figsize=(WIDTH_IN, 0.8 + 0.3 * len(counts)), layout="constrained")
    axes = figure.subplots()
    names = sorted(counts, key=lambda name: counts[name])
    colors = [WRONG if name.startswith("-") else OURS for name in names]
    axes.bar_label(axes.barh(names, [counts[name] for name in names], color=colors))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("chunks")
    return svg(figure)


def _latency(replay: Replay) -> str:
    figure = Figure(figsize=(WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    pairs = [(pair.then.ms, pair.now.ms) for pair in replay.compared if pair.then and pair.now]
    shared = [(then, now, then.keys() & now.keys()) for then, now in pairs]
    times = [[sum(each[i][name] for name in names) for *each, names in shared if names] for i in (0, 1)]
    if not times[0]:
        return ""
    for found, color, name in zip(times, (OTHER, OURS), ("then", "now"), strict=True):
        axes.ecdf(found, color=color, label=name)
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("share of questions")
    axes.legend()
    return svg(figure)


def _signal(replay: Replay) -> str:
    sides = [(pair.then.confidence, pair.now.confidence) for pair in replay.compared if pair.then and pair.now]
    if not sides:
        return ""
    then, now = np.array(sides).T
    figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.scatter(then, now, s=12, color=OURS, alpha=0.5)
    ends = [min(then.min(), now.min()), max(then.max(), now.max())]
    axes.plot(ends, ends, color="#444444", linewidth=1)
    axes.set_xlabel("then")
    axes.set_ylabel("now")
    return svg(figure)
