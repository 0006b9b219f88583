"""Plots of what a tenant asked, as SVG."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from millrace.analytics.summary import TenantReport
from millrace.reports.drawing import OTHER, OURS, WIDTH_IN, WRONG, styled, svg

_TOPICS: Final = 12
_TRENDS: Final = 6
_LONGEST: Final = 42


def plots(tenant: TenantReport, weeks: Sequence[str]) -> list[tuple[str, str]]:
    """Titles and SVG documents; those that have nothing to show are left out."""
    with styled():
        return [(title, drawn) for title, drawn in (
            ("Questions by week, and how they ended", _weeks(tenant)),
            ("Questions by topic, and how they ended", _topics(tenant)),
            ("Topics from week to week", _trends(tenant, weeks)),
            ("Stages that poor answers are the fault of", _stages(tenant)),
        ) if drawn]  # fmt: skip


def _weeks(tenant: TenantReport) -> str:
    if not any(week.n for week in tenant.usage):
        return ""
    figure = Figure(figsize=(WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    names = [week.week for week in tenant.usage]
    answered = np.array([(week.n or 0) * (week.answered or 0.0) for week in tenant.usage])
    rest = np.array([week.n or 0 for week in tenant.usage]) - answered
    axes.bar(names, answered, color=OURS, label="answered")
    axes.bar(names, rest, bottom=answered, color=WRONG, label="not answered")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("questions")
    axes.legend()
    return svg(figure)


def _topics(tenant: TenantReport) -> str:
    topics = tenant.topics[:_TOPICS]
    if not topics:
        return ""
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.3 * len(topics)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(topics))
    answered = np.array([topic.n - topic.n_unanswered for topic in topics])
    axes.barh(rows, answered, color=OURS, label="answered")
    axes.barh(rows, [topic.n_unanswered for topic in topics], left=answered, color=WRONG, label="not answered")
    axes.set_yticks(rows, [_short(topic.name) for topic in topics])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("questions")
    axes.legend()
    return svg(figure)


def _trends(tenant: TenantReport, weeks: Sequence[str]) -> str:
    topics = tenant.topics[:_TRENDS]
    if len(weeks) < 2 or not topics:
        return ""
    figure = Figure(figsize=(WIDTH_IN, 3.0), layout="constrained")
    axes = figure.subplots()
    for topic in topics:
        told = [np.nan if n is None else n for n in topic.by_week]
        axes.plot(list(weeks), told, marker="o", label=_short(topic.name))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("questions")
    axes.legend(fontsize=8)
    return svg(figure)


def _stages(tenant: TenantReport) -> str:
    topics = [topic for topic in (*tenant.topics[:_TOPICS], tenant.other) if topic.by_stage]
    if not topics:
        return ""
    stages = sorted({stage for topic in topics for stage in topic.by_stage})
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.3 * len(topics)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(topics))
    left = np.zeros(len(topics))
    shades = np.linspace(0.95, 0.35, len(stages))
    for stage, shade in zip(stages, shades, strict=True):
        counts = np.array([topic.by_stage.get(stage, 0) for topic in topics])
        axes.barh(rows, counts, left=left, color=OTHER if stage == "unknown" else WRONG, alpha=shade, label=stage)
        left += counts
    axes.set_yticks(rows, [_short(topic.name or "other questions") for topic in topics])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("poor answers")
    axes.legend(fontsize=8)
    return svg(figure)


def _short(name: str) -> str:
    """A name that fits beside a plot; a dollar sign would begin a formula."""
    name = name.replace("$", r"\$")
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
