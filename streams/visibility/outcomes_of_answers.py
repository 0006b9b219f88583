"""How good answers were, why, and what changed, to be looked at: by tenant. Held in memory, bounded.

Days are counted as events come. Of the newest answers of a tenant enough is kept beside to count a later revision in
place of the earlier one, and to list the poor ones; what was said of an answer counts once of each user and kind.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import DriftDetected, DriftScored, QualityScored, StageAttributed, TrainingRequested
from millrace.topics import (
    DAY_MS,
    DRIFT_DETECTED,
    DRIFT_SCORED,
    FEEDBACK_GIVEN,
    QUALITY_SCORED,
    STAGE_ATTRIBUTED,
    TRAINING_REQUESTED,
)
from streams.visibility.outcome_days import KEPT_DAYS, Days, Scored, Staged
from streams.visibility.topic_view import TopicView

E = TypeVar("E")
KEEP_S: Final = KEPT_DAYS * DAY_MS / 1000
MAX_KEPT: Final = 200_000
_MAX_ANSWERS: Final = 5_000
_MAX_EVENTS: Final = 2_000


class At(msgspec.Struct, Generic[E], frozen=True):
    """An event, and when the broker took it, unix milliseconds."""

    at_ms: int
    event: E


class TenantOutcomes:
    """What is kept of one tenant.

    Parameters
    ----------
    since_ms : int
        Before it nothing is known, unix milliseconds; 0 where all that was read is.

    Attributes
    ----------
    days : Days
        What is counted.
    scores, stages : mapping of str to Scored, Staged
        The highest revision of each of the newest answers, by correlation id, in the order in which they were seen.
    windows, detections, requests : deque of At
        The newest ones, oldest first.
    """

    def __init__(self, since_ms: int = 0) -> None:
        self.since_ms = self.newest_ms = since_ms
        self.days = Days()
        self.scores: OrderedDict[str, Scored] = OrderedDict()
        self.stages: OrderedDict[str, Staged] = OrderedDict()
        self.windows: deque[At[DriftScored]] = deque(maxlen=_MAX_EVENTS)
        self.detections: deque[At[DriftDetected]] = deque(maxlen=_MAX_EVENTS)
        self.requests: deque[At[TrainingRequested]] = deque(maxlen=_MAX_EVENTS)
        self._seen: OrderedDict[Hashable, None] = OrderedDict()

    def __len__(self) -> int:
        """How many things are kept."""
        listed = len(self.windows) + len(self.detections) + len(self.requests)
        return len(self.days) + len(self.scores) + len(self.stages) + listed + len(self._seen)

    def keep(self, event: Event, at_ms: int) -> None:
        """Take an event in, once."""
        self.newest_ms = max(self.newest_ms, at_ms)
        match event:
            case QualityScored():
                self._score(event, at_ms)
            case StageAttributed():
                self._attribute(event, at_ms)
            case FeedbackGiven() if self._is_new((event.correlation, event.user, event.kind)):
                self.days.said(event.kind, at_ms)
            case DriftScored() if self._is_new(event.meta.id):
                self.windows.append(At(at_ms, event))
            case DriftDetected() if self._is_new(event.meta.id):
                self.detections.append(At(at_ms, event.replace(ranges=())))
            case TrainingRequested() if self._is_new(event.meta.id):
                self.requests.append(At(at_ms, event))

    def _score(self, event: QualityScored, at_ms: int) -> None:
        known = self.scores.get(event.correlation)
        if known is None and event.revision > 1:
            return  # it was counted and forgotten, or is older than all that is read: its day is not known
        asked: dict[str, Any] = {}
        if event.poor:
            asked = {"question": event.asked or event.question, "flags": event.flags, "user": event.user}
        found = Scored(at_ms=at_ms, revision=event.revision, score=event.score, poor=event.poor, **asked)
        revised = _revised(self.scores, event.correlation, found)
        if revised is not None:
            self.days.scored(revised, known)

    def _attribute(self, event: StageAttributed, at_ms: int) -> None:
        known = self.stages.get(event.correlation)
        found = Staged(
            at_ms=at_ms, revision=event.revision, stage=event.stage, rule=event.rule, document=event.document
        )
        revised = _revised(self.stages, event.correlation, found)
        if revised is not None:
            self.days.staged(revised, known)

    def _is_new(self, name: Hashable) -> bool:
        if name in self._seen:
            return False
        self._seen[name] = None
        while len(self._seen) > 2 * _MAX_ANSWERS:
            self._seen.popitem(last=False)
        return True


class OutcomeLog(TopicView):
    """Folds what the learning loop says; see `TopicView` for the other parameters.

    Parameters
    ----------
    keep_s : float
        How far back reading begins, in seconds.
    max_kept : int
        How much is kept of all tenants together: answers, windows, what was seen. The tenant that was not heard of for
        longest is forgotten first, and is known since then alone.
    now : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        codec: Codec | None = None,
        keep_s: float = KEEP_S,
        max_kept: int = MAX_KEPT,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        topics = (
            QUALITY_SCORED,
            STAGE_ATTRIBUTED,
            FEEDBACK_GIVEN,
            DRIFT_SCORED,
            DRIFT_DETECTED,
            TRAINING_REQUESTED,
        )
        super().__init__(connection, topics, codec, since_ms=max(0, round((now() - keep_s) * 1000)), **options)
        self._max_kept = max_kept
        self._n_kept = 0
        self._forgotten_ms = 0
        self._tenants: OrderedDict[str, TenantOutcomes] = OrderedDict()

    def of_tenant(self, tenant: str) -> TenantOutcomes:
        """What is known of a tenant."""
        found = self._tenants.get(tenant)
        return TenantOutcomes(self._forgotten_ms) if found is None else found

    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:  # noqa: ARG002 - of all views
        """Take an event in."""
        found = self._tenants[event.tenant] = self.of_tenant(event.tenant)
        self._tenants.move_to_end(event.tenant)
        before = len(found)
        found.keep(event, timestamp_ms)
        self._n_kept += len(found) - before
        while self._n_kept > self._max_kept and len(self._tenants) > 1:
            _, oldest = self._tenants.popitem(last=False)
            self._n_kept -= len(oldest)
            self._forgotten_ms = max(self._forgotten_ms, oldest.newest_ms)


R = TypeVar("R", Scored, Staged)


def _revised(kept: OrderedDict[str, R], correlation: str, found: R) -> R | None:
    """Keep the highest revision of an answer, at the time of the first one that was seen; None where it is not that."""
    known = kept.get(correlation)
    if known is not None:
        if known.revision >= found.revision:
            return None
        found = msgspec.structs.replace(found, at_ms=min(found.at_ms, known.at_ms))
    kept[correlation] = found
    while len(kept) > _MAX_ANSWERS:
        kept.popitem(last=False)
    return found
