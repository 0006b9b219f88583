"""Review items and the quality of answers, for those who may look at a tenant's: pages, HTTP.

Everything here takes the caller's `Identity`. An item of another tenant and one that does not exist are the same: None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from gateway.identity import Identity
from gateway.problems import Problem
from millrace.events.guard import Span
from millrace.topics import DAY_MS, QUALITY_SCORED

MAX_DAYS: Final = QUALITY_SCORED.retention_ms // DAY_MS
"""Of no more days than the log keeps scores of can be told how good answers were."""
State = Literal["open", "decided", "all"]


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about an item."""

    decision: str
    user: str
    at_ms: int
    text: str = ""


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item as a reviewer sees it."""

    item: str
    subject_kind: str
    subject: str
    version: int
    kind: str
    rule: str
    action: str
    reason: str
    opened_at_ms: int
    spans: tuple[Span, ...] = ()
    decisions: tuple[DecisionView, ...] = ()
    fitting: tuple[str, ...] = ()
    """What may be decided now."""

    @property
    def last(self) -> DecisionView | None:
        """The decision that counts."""
        return self.decisions[-1] if self.decisions else None


class SubjectText(msgspec.Struct, frozen=True, kw_only=True):
    """What an item is about, as far as the reviewer may see it.

    Attributes
    ----------
    title : str
        Of the document; empty for questions and answers.
    question : str
        What was asked.
    text : str
        Text of the document, or the answer; spans of the item point into it, but for questions into `question`.
    """

    title: str = ""
    question: str = ""
    text: str = ""


class Reviews(Protocol):
    """Items of a tenant."""

    async def items(
        self, identity: Identity, *, state: State = "open", kind: str = "", limit: int = 50, after: str = ""
    ) -> tuple[Sequence[ReviewItem], str]:
        """Items, newest first, and the id that the following ones come `after`; empty at the end."""

    async def item(self, identity: Identity, item: str) -> ReviewItem | None:
        """One item; None where the tenant has none of that id."""

    async def text(self, identity: Identity, item: str) -> SubjectText | None:
        """What an item is about; None where the caller may not read it, or it is not kept any more."""

    async def decide(self, identity: Identity, item: str, decision: str, text: str = "") -> ReviewItem | None:
        """Decide about an item, and give it as it is then; None where the tenant has none of that id.

        Raises `Problem` with 409 where the decision does not fit.
        """


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A day of a tenant's answers.

    Attributes
    ----------
    at_ms : int
        Its beginning, UTC.
    n, n_poor : int
        Answers, and poor ones among them.
    score : float
        Their mean, 0 to 1.
    feedback, stages, folders : mapping of str to int
        Feedback by kind, poor answers by stage, and by ``folder: stage`` where the document is known.
    """

    at_ms: int
    n: int = 0
    n_poor: int = 0
    score: float = 0.0
    feedback: Mapping[str, int] = {}
    stages: Mapping[str, int] = {}
    folders: Mapping[str, int] = {}


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A window of a signal."""

    window: int
    at_ms: int
    n: int
    mean: float
    deviation: float
    reference_mean: float


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a signal; `window` is the one it shows in, -1 where that is not known."""

    at_ms: int
    n_seen: int
    before: float
    after: float
    window: int = -1


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What drift is looked for in."""

    name: str
    windows: tuple[Window, ...] = ()
    detections: tuple[Detection, ...] = ()


class PoorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that someone should ask about."""

    correlation: str
    at_ms: int
    question: str
    score: float
    flags: tuple[str, ...] = ()
    stage: str = ""
    rule: str = ""
    document: str = ""
    own: bool = False
    """Whether the caller asked it, so that its trace is theirs to see."""


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A model that should learn."""

    at_ms: int
    model: str
    base: str
    reason: str
    n_records: int = 0


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's answers over time, without texts other than the questions of poor ones.

    Attributes
    ----------
    since_ms : int
        Of what came before it nothing is known here, and its day is left out; 0 where all that was asked for is known.
    """

    since_ms: int = 0
    days: tuple[Point, ...] = ()
    signals: tuple[Signal, ...] = ()
    poor: tuple[PoorAnswer, ...] = ()
    requests: tuple[TrainingRequest, ...] = ()


class Quality(Protocol):
    """How good the answers of a tenant are."""

    async def report(self, identity: Identity, *, days: int = 28) -> QualityReport:
        """The last days, oldest first."""


def may_review(identity: Identity, reviewers: Sequence[str]) -> bool:
    """Whether a caller may look at the review items of its tenant, and decide about them.

    That takes the right to read, and one of the groups of the setting ``gateway.reviewers``.
    """
    return "read" in identity.scopes and bool(set(identity.groups) & set(reviewers))


def check_reviewer(identity: Identity, reviewers: Sequence[str]) -> None:
    """Refuse who may not review.

    Raises
    ------
    Problem
        With 403.
    """
    if not may_review(identity, reviewers):
        raise Problem(403, "forbidden", "reviewing takes a group that the gateway lets review; ask who runs it")
