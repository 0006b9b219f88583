"""From findings to events: verdicts that name rules and places, and items that a person should look at. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec
from millrace import ids
from millrace.events.guard import MAX_SPANS, Action, ReviewItemOpened, Span, SubjectKind, VerdictGiven

MAX_LISTED: Final = 20
"""Verdicts that a completion or a terminal record lists at most."""


class Subject(msgspec.Struct, frozen=True):
    """What is looked at, and by which agent."""

    tenant: str
    kind: SubjectKind
    id: str
    stage: str
    version: int = 0


class Place(Protocol):
    """A place that a rule points at: a `Finding`, or what was changed there."""

    @property
    def kind(self) -> str:
        """What it is about."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    @property
    def start(self) -> int:
        """First character."""

    @property
    def end(self) -> int:
        """Character after the last one."""

    @property
    def score(self) -> float:
        """How sure the rule is."""


def verdict(
    subject: Subject,
    kind: str,
    rule: str,
    action: Action,
    places: Iterable[tuple[int, int]] = (),
    *,
    n_found: int | None = None,
    score: float = 1.0,
) -> VerdictGiven:
    """Say what a rule found in a subject; `n_found` is the number of places unless it is given."""
    spans = [Span(start, end) for start, end in places]
    return VerdictGiven(
        tenant=subject.tenant,
        subject_kind=subject.kind,
        subject=subject.id,
        version=subject.version,
        stage=subject.stage,
        rule=rule,
        kind=kind,
        action=action,
        spans=tuple(spans[:MAX_SPANS]),
        n_found=len(spans) if n_found is None else n_found,
        score=score,
    )


def verdicts_of(subject: Subject, judged: Iterable[tuple[Place, Action]]) -> list[VerdictGiven]:
    """One verdict for each rule and action, in the order in which they were met."""
    groups: dict[tuple[str, str, Action], list[Place]] = {}
    for finding, action in judged:
        groups.setdefault((finding.kind, finding.rule, action), []).append(finding)
    return [
        verdict(
            subject,
            kind,
            rule,
            action,
            [(finding.start, finding.end) for finding in found],
            score=max(finding.score for finding in found),
        )
        for (kind, rule, action), found in groups.items()
    ]


def review(given: VerdictGiven) -> ReviewItemOpened:
    """Open an item for a verdict; the same rule on the same version of a subject is the same item."""
    what = {"document": f"version {given.version} of the document"}.get(given.subject_kind, f"the {given.subject_kind}")
    return ReviewItemOpened(
        tenant=given.tenant,
        subject_kind=given.subject_kind,
        subject=given.subject,
        version=given.version,
        stage=given.stage,
        rule=given.rule,
        item=ids.derived("review", given.tenant, given.subject_kind, given.subject, given.version, given.rule),
        reason=f"{given.kind}: rule {given.rule} found {given.n_found} places in {what}; action: {given.action}",
    )


def listed(given: Sequence[VerdictGiven], before: Sequence[str] = ()) -> tuple[str, ...]:
    """Verdicts in short, those from `before` first, at most `MAX_LISTED`."""
    return tuple(dict.fromkeys([*before, *(each.short for each in given)]))[:MAX_LISTED]
