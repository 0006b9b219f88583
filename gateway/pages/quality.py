"""Quality: how good answers were over time, what people said, which stage failed, and what changed. For reviewers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.masking import Mask, beginning
from gateway.pages.charts import Chart, columns, lines
from gateway.pages.rendering import Site
from gateway.reviewing import MAX_DAYS, PoorAnswer, QualityReport, Signal, check_reviewer
from gateway.service import Service
from gateway.settings import GatewaySettings

_STAGES: Final = ("question", "retrieval", "ranking", "reading", "corpus", "unknown")
_FEEDBACK: Final = (
    "up",
    "down",
    "rating",
    "correction",
    "comment",
    "rephrased",
    "abandoned",
    "copied",
    "escalated",
)
_SIGNALS: Final[Mapping[str, str]] = {
    "lexical_top1": "Words of the question in the best passage",
    "score_gap": "Lead of the best passage",
    "confidence": "Confidence",
    "feedback": "Feedback",
}
_LONGEST: Final = 1_000
_MAX_FOLDERS: Final = 20
Days = Annotated[int, Query(ge=1, le=MAX_DAYS)]


class SignalView(msgspec.Struct, frozen=True, kw_only=True):
    """A signal with its chart."""

    title: str
    signal: Signal
    chart: Chart
    detected: frozenset[int]


def add(router: APIRouter, site: Site, service: Service, settings: GatewaySettings) -> None:
    """Add the page, where the gateway knows of quality."""
    quality = service.quality
    if quality is None:
        return

    @router.get("/quality")
    async def page(request: Request, days: Days = 28) -> Response:
        visitor = await site.visitor(request)
        check_reviewer(visitor.identity, settings.reviewers)
        report = await quality.report(visitor.identity, days=days)
        # Masking looks at every word: not on the event loop.
        poor = await asyncio.to_thread(_masked, report.poor, site.mask)
        folders = await asyncio.to_thread(lambda: [(site.mask(name), found) for name, found in _folders(report)])
        return site.page(
            request, "quality.html", visitor, days=days, report=report, poor=poor, folders=folders, **_charts(report)
        )


def _masked(poor: Sequence[PoorAnswer], mask: Mask) -> list[tuple[PoorAnswer, str, str]]:
    return [(each, beginning(each.question, mask, _LONGEST), mask(each.document)) for each in poor]


def _charts(report: QualityReport) -> dict[str, Any]:
    scored = [day for day in report.days if day.n]
    feedback = [day for day in report.days if day.feedback]
    staged = [day for day in report.days if day.stages]
    kinds = [kind for kind in _FEEDBACK if any(day.feedback.get(kind) for day in feedback)]
    stages = [stage for stage in _STAGES if any(day.stages.get(stage) for day in staged)]
    return {
        "scored": scored,
        "scores": lines([day.score for day in scored], low=0.0, high=1.0),
        "shares": lines([day.n_poor / day.n for day in scored], low=0.0, high=1.0),
        "given": feedback,
        "feedback_kinds": kinds,
        "feedback": columns([day.feedback for day in feedback], kinds),
        "staged": staged,
        "stage_kinds": stages,
        "stages": columns([day.stages for day in staged], stages),
        "signals": [_signal(each) for each in report.signals],
    }


def _folders(report: QualityReport) -> list[tuple[str, Counter[str]]]:
    """Poor answers by folder of the document that should have been answered from, and by stage; most first."""
    found: dict[str, Counter[str]] = {}
    for day in report.days:
        for name, n in day.folders.items():
            folder, _, stage = name.rpartition(": ")
            found.setdefault(folder, Counter())[stage] += n
    return sorted(found.items(), key=lambda each: (-each[1].total(), each[0]))[:_MAX_FOLDERS]


def _signal(signal: Signal) -> SignalView:
    numbers = {window.window: n for n, window in enumerate(signal.windows)}
    detected = frozenset(each.window for each in signal.detections if each.window in numbers)
    return SignalView(
        title=_SIGNALS.get(signal.name, signal.name),
        signal=signal,
        chart=lines(
            [window.mean for window in signal.windows],
            reference=[window.reference_mean for window in signal.windows],
            marks=[numbers[window] for window in sorted(detected)],
        ),
        detected=detected,
    )
