"""From findings to events: verdicts that name rules and places, and items that a person should look at. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec
from millrace import ids
from millrace.events.guard import MAX_SPANS, Action, ReviewItemOpened, Span, SubjectKind, VerdictGiven

REVIEWED: Final = frozenset({"flag", "block", "hold", "retract"})
"""Actions that a person should know of."""
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


def reviews(
    given: Iterable[VerdictGiven], *, conversation: str = "", content: str | None = None, manifest: str | None = None
) -> list[ReviewItemOpened]:
    """One item for each subject and kind that a verdict puts up for review; said again, it is the same item.

    Parameters
    ----------
    conversation, content, manifest
        As in `ReviewItemOpened`.
    """
    groups: dict[tuple[str, str, int, str], list[VerdictGiven]] = {}
    for each in given:
        if each.action in REVIEWED:
            groups.setdefault((each.subject_kind, each.subject, each.version, each.kind), []).append(each)
    whole = {"conversation": conversation, "content": content, "manifest": manifest}
    return [_item(verdicts).replace(**whole) for verdicts in groups.values()]


def _item(given: Sequence[VerdictGiven]) -> ReviewItemOpened:
    first = max(given, key=lambda each: each.score)
    what = (
        f"version {first.version} of the document" if first.subject_kind == "document" else f"the {first.subject_kind}"
    )
    rules = ", ".join(dict.fromkeys(each.rule for each in given))
    return ReviewItemOpened(
        tenant=first.tenant,
        subject_kind=first.subject_kind,
        subject=first.subject,
        version=first.version,
        stage=first.stage,
        rule=first.rule,
        item=ids.derived("review", first.tenant, first.subject_kind, first.subject, first.version, first.kind),
        reason=f"{first.kind} in {what} at {sum(each.n_found for each in given)} places, by {rules}; {first.action}",
        kind=first.kind,
        action=first.action,
        spans=tuple(dict.fromkeys(span for each in given for span in each.spans))[:MAX_SPANS],
    )


def listed(given: Sequence[VerdictGiven], before: Sequence[str] = ()) -> tuple[str, ...]:
    """Verdicts in short, those from `before` first, at most `MAX_LISTED`."""
    return tuple(dict.fromkeys([*before, *(each.short for each in given)]))[:MAX_LISTED]
