"""How good a tenant's answers are, from the log: the `Quality` that a gateway serves."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from gateway.identity import Identity
from gateway.reviewing import Detection, Point, PoorAnswer, QualityReport, Signal, TrainingRequest, Window
from millrace.errors import MillraceError
from millrace.events.learn import QualityScored
from streams.visibility.outcomes_of_answers import At, OutcomeLog, TenantOutcomes

_DAY_MS: Final = 86_400_000
MAX_DAYS: Final = 90
_MAX_POOR: Final = 25
_MAX_WINDOWS: Final = 120
_MAX_REQUESTS: Final = 20
TOP: Final = "(top)"
"""Folder of documents that are in none."""


class LogQuality:
    """Reports over what was folded.

    Parameters
    ----------
    log : OutcomeLog
        What the learning loop said.
    now : callable
        Seconds since the epoch.
    """

    def __init__(self, log: OutcomeLog, now: Callable[[], float] = time.time) -> None:
        self._log = log
        self._now = now

    def ready(self) -> bool:
        """Whether all that was in the log at the start has been read."""
        return self._log.ready()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._log.failure

    async def caught_up(self) -> None:
        """Return when everything that was in the log at the time of the call has been read."""
        await self._log.caught_up()

    async def report(self, identity: Identity, *, days: int = 28) -> QualityReport:
        """The last days of the caller's tenant, oldest first; days without anything are left out."""
        found = self._log.of_tenant(identity.tenant)
        days = max(1, min(days, MAX_DAYS))
        first = (round(self._now() * 1000) // _DAY_MS - days + 1) * _DAY_MS
        return QualityReport(
            days=tuple(_days(found, first)),
            signals=tuple(_signals(found, first)),
            poor=tuple(_poor(identity, found, first)),
            requests=tuple(_requests(found, first)),
        )


def _days(found: TenantOutcomes, first_ms: int) -> Iterable[Point]:
    scores: defaultdict[int, list[QualityScored]] = defaultdict(list)
    feedback: defaultdict[int, Counter[str]] = defaultdict(Counter)
    stages: defaultdict[int, Counter[str]] = defaultdict(Counter)
    folders: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for score in found.scores.values():
        scores[_day(score)].append(score.event)
    for given in found.feedback:
        feedback[_day(given)][given.event.kind] += 1
    for stage in found.stages.values():
        stages[_day(stage)][stage.event.stage] += 1
        folders[_day(stage)][f"{folder_of(stage.event.document)}: {stage.event.stage}"] += 1
    for day in sorted(each for each in {*scores, *feedback, *stages} if each >= first_ms):
        of_day = scores[day]
        yield Point(
            at_ms=day,
            n=len(of_day),
            n_poor=sum(each.poor for each in of_day),
            score=sum(each.score for each in of_day) / len(of_day) if of_day else 0.0,
            feedback=dict(feedback[day]),
            stages=dict(stages[day]),
            folders=dict(folders[day]),
        )


def folder_of(document: str) -> str:
    """Folder of a document; what is known of no document has none."""
    if not document:
        return "(unknown)"
    return document.rpartition("/")[0] or TOP


def _signals(found: TenantOutcomes, first_ms: int) -> Iterable[Signal]:
    measured = {each.event.signal for each in found.windows}
    for name in sorted(measured | {each.event.signal for each in found.detections}):
        recent = [each for each in found.windows if each.event.signal == name and each.at_ms >= first_ms]
        windows = sorted(recent, key=lambda each: each.event.window)[-_MAX_WINDOWS:]
        detections = [each for each in found.detections if each.event.signal == name and each.at_ms >= first_ms]
        yield Signal(
            name=name,
            windows=tuple(
                Window(
                    window=each.event.window,
                    at_ms=each.at_ms,
                    n=each.event.n,
                    mean=each.event.mean,
                    deviation=each.event.deviation,
                    reference_mean=each.event.reference_mean,
                )
                for each in windows
            ),
            detections=tuple(
                Detection(
                    at_ms=each.at_ms,
                    n_seen=each.event.n_seen,
                    before=each.event.before,
                    after=each.event.after,
                    window=_window_at(each.at_ms, [(one.at_ms, one.event.window) for one in windows]),
                )
                for each in detections
            ),
        )


def _window_at(at_ms: int, windows: Sequence[tuple[int, int]]) -> int:
    """The first window that was closed no earlier; the last one where none was."""
    later = [window for closed_ms, window in windows if closed_ms >= at_ms]
    if later:
        return later[0]
    return windows[-1][1] if windows else -1


def _poor(identity: Identity, found: TenantOutcomes, first_ms: int) -> Iterable[PoorAnswer]:
    poor = [each for each in found.scores.values() if each.event.poor and each.at_ms >= first_ms]
    for each in sorted(poor, key=lambda one: one.at_ms, reverse=True)[:_MAX_POOR]:
        score = each.event
        stage = found.stages.get(score.correlation)
        yield PoorAnswer(
            correlation=score.correlation,
            at_ms=each.at_ms,
            question=score.asked or score.question,
            score=score.score,
            flags=score.flags,
            stage=stage.event.stage if stage is not None else "",
            rule=stage.event.rule if stage is not None else "",
            document=stage.event.document if stage is not None else "",
            own=bool(identity.user) and score.user == identity.user,
        )


def _requests(found: TenantOutcomes, first_ms: int) -> Iterable[TrainingRequest]:
    newest = [each for each in found.requests if each.at_ms >= first_ms][-_MAX_REQUESTS:]
    for each in reversed(newest):
        event = each.event
        yield TrainingRequest(
            at_ms=each.at_ms,
            model=event.model,
            base=event.base,
            reason=event.reason,
            n_records=sum(one.stop - one.start for one in event.ranges),
        )


def _day(found: At[Any]) -> int:
    return found.at_ms // _DAY_MS * _DAY_MS
