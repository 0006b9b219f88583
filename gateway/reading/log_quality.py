"""How good a tenant's answers are, from the log: the `Quality` that a gateway serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway.identity import Identity
from gateway.reviewing import MAX_DAYS, Detection, Point, PoorAnswer, QualityReport, Signal, TrainingRequest, Window
from millrace.errors import MillraceError
from millrace.topics import DAY_MS
from streams.visibility.outcomes_of_answers import OutcomeLog, TenantOutcomes

_MAX_POOR: Final = 25
_MAX_WINDOWS: Final = 120
_MAX_REQUESTS: Final = 20


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
        """The last days of the caller's tenant, today the last; days without anything are left out."""
        found = self._log.of_tenant(identity.tenant)
        days = max(1, min(days, MAX_DAYS))
        first = (round(self._now() * 1000) // DAY_MS - days + 1) * DAY_MS
        since = found.since_ms if found.since_ms >= first else 0
        return QualityReport(
            since_ms=since,
            days=tuple(_days(found, (since // DAY_MS + 1) * DAY_MS if since else first)),
            signals=tuple(_signals(found, first)),
            poor=tuple(_poor(identity, found, first)),
            requests=tuple(_requests(found, first)),
        )


def _days(found: TenantOutcomes, first_ms: int) -> Iterable[Point]:
    for at_ms, day in found.days.since(first_ms):
        point = Point(
            at_ms=at_ms,
            n=day.n,
            n_poor=day.n_poor,
            score=day.total / day.n if day.n else 0.0,
            feedback=dict(day.feedback),
            stages=dict(+day.stages),
            folders=dict(+day.folders),
        )
        if point.n or point.feedback or point.stages:
            yield point


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
    poor = [(name, each) for name, each in found.scores.items() if each.poor and each.at_ms >= first_ms]
    for correlation, score in sorted(poor, key=lambda one: one[1].at_ms, reverse=True)[:_MAX_POOR]:
        stage = found.stages.get(correlation)
        yield PoorAnswer(
            correlation=correlation,
            at_ms=score.at_ms,
            question=score.question,
            score=score.score,
            flags=score.flags,
            stage=stage.stage if stage is not None else "",
            rule=stage.rule if stage is not None else "",
            document=stage.document if stage is not None else "",
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
