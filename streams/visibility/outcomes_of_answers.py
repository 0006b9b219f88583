"""How good answers were, why, and what changed, to be looked at: by tenant. Held in memory, bounded."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import DriftDetected, DriftScored, QualityScored, StageAttributed, TrainingRequested
from millrace.topics import (
    DRIFT_DETECTED,
    DRIFT_SCORED,
    FEEDBACK_GIVEN,
    QUALITY_SCORED,
    STAGE_ATTRIBUTED,
    TRAINING_REQUESTED,
)
from streams.visibility.topic_view import TopicView

E = TypeVar("E")
KEEP_S: Final = 90 * 86_400.0
_MAX_ANSWERS: Final = 5_000
_MAX_EVENTS: Final = 2_000


class At(msgspec.Struct, Generic[E], frozen=True):
    """An event, and when the broker took it, unix milliseconds."""

    at_ms: int
    event: E


class TenantOutcomes:
    """What is kept of one tenant.

    Attributes
    ----------
    scores, stages : mapping of str to At
        The highest revision of each answer, by correlation id, in the order in which answers were first seen.
    feedback, windows, detections, requests : deque of At
        The newest ones, oldest first.
    """

    def __init__(self) -> None:
        self.scores: OrderedDict[str, At[QualityScored]] = OrderedDict()
        self.stages: OrderedDict[str, At[StageAttributed]] = OrderedDict()
        self.feedback: deque[At[FeedbackGiven]] = deque(maxlen=_MAX_ANSWERS)
        self.windows: deque[At[DriftScored]] = deque(maxlen=_MAX_EVENTS)
        self.detections: deque[At[DriftDetected]] = deque(maxlen=_MAX_EVENTS)
        self.requests: deque[At[TrainingRequested]] = deque(maxlen=_MAX_EVENTS)
        self._seen: OrderedDict[str, None] = OrderedDict()

    def keep(self, event: Event, at_ms: int) -> None:
        """Take an event in, once."""
        match event:
            case QualityScored():
                _revised(self.scores, event, at_ms)
            case StageAttributed():
                _revised(self.stages, event, at_ms)
            case FeedbackGiven() if self._is_new(event):
                self.feedback.append(At(at_ms, event))
            case DriftScored() if self._is_new(event):
                self.windows.append(At(at_ms, event))
            case DriftDetected() if self._is_new(event):
                self.detections.append(At(at_ms, event))
            case TrainingRequested() if self._is_new(event):
                self.requests.append(At(at_ms, event))

    def _is_new(self, event: Event) -> bool:
        if event.meta.id in self._seen:
            return False
        self._seen[event.meta.id] = None
        while len(self._seen) > 2 * _MAX_ANSWERS:
            self._seen.popitem(last=False)
        return True


class OutcomeLog(TopicView):
    """Folds what the learning loop says; see `TopicView` for the other parameters.

    Parameters
    ----------
    keep_s : float
        How far back reading begins, in seconds.
    now : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        codec: Codec | None = None,
        keep_s: float = KEEP_S,
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
        self._tenants: defaultdict[str, TenantOutcomes] = defaultdict(TenantOutcomes)

    def of_tenant(self, tenant: str) -> TenantOutcomes:
        """What is known of a tenant."""
        return self._tenants.get(tenant) or TenantOutcomes()

    def tenants(self) -> Iterable[str]:
        """Tenants that something is known of."""
        return self._tenants.keys()

    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:  # noqa: ARG002 - of all views
        """Take an event in."""
        self._tenants[event.tenant].keep(event, timestamp_ms)


R = TypeVar("R", QualityScored, StageAttributed)


def _revised(kept: OrderedDict[str, At[R]], event: R, at_ms: int) -> None:
    """Keep the highest revision of an answer, at the time of the first one that was seen."""
    known = kept.get(event.correlation)
    if known is not None and known.event.revision >= event.revision:
        return
    kept[event.correlation] = At(min(at_ms, known.at_ms) if known is not None else at_ms, event)
    while len(kept) > _MAX_ANSWERS:
        kept.popitem(last=False)
