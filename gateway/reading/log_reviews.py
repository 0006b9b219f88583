"""Review items from the log, and decisions onto it: the `Reviews` that a gateway serves.

Texts of documents are shown to reviewers whose groups may read them, or might if the document were not held back or
withdrawn. Questions and answers are shown to every reviewer of the tenant, as far as they quote what the reviewer may
read.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.identity import Identity
from gateway.problems import Problem
from gateway.reading.access import quotes_only
from gateway.reviewing import DecisionView, ReviewItem, State, SubjectText
from millrace.errors import MillraceError, ObjectMissing, Unavailable
from millrace.event import Event
from millrace.events.guard import ReviewDecisionMade
from millrace.reviewing import UnfittingDecision, decided, decision_meta, fitting
from millrace.withdrawal import restored
from streams.visibility.asked import AnswersByDocument, RecentQuestions
from streams.visibility.reviews import Reviewable, ReviewLog
from streams.visibility.tail import Tail

_SOURCE: Final = "gateway"

Get = Callable[[str], Awaitable[bytes]]
Produce = Callable[[Event], Awaitable[object]]


class LogReviews:
    """Items of a tenant, and decisions about them.

    Parameters
    ----------
    log : ReviewLog
        Items and decisions.
    tail : Tail
        Who may read documents.
    answers, questions
        What was asked and answered lately.
    get : callable
        Reads texts of documents.
    produce : callable
        Writes an event, and waits until it is on the log.
    """

    def __init__(
        self, log: ReviewLog, tail: Tail, answers: AnswersByDocument, questions: RecentQuestions, get: Get
    ) -> None:
        self._log = log
        self._tail = tail
        self._answers = answers
        self._questions = questions
        self._get = get
        self._produce: Produce | None = None

    def write_with(self, produce: Produce) -> LogReviews:
        """Let decisions be written with a client."""
        self._produce = produce
        return self

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

    async def items(
        self, identity: Identity, *, state: State = "open", kind: str = "", limit: int = 50, after: str = ""
    ) -> tuple[Sequence[ReviewItem], str]:
        """Items, newest first, and the id that the following ones come after."""
        found: list[ReviewItem] = []
        passed = not after
        for each in self._log.of_tenant(identity.tenant):
            if passed and _wanted(each, state, kind):
                if len(found) == limit:
                    return found, found[-1].item
                found.append(_shown(each))
            passed = passed or each.item.item == after
        return found, ""

    async def item(self, identity: Identity, item: str) -> ReviewItem | None:
        """One item; None where the tenant has none of that id."""
        found = self._log.find(identity.tenant, item)
        return None if found is None else _shown(found)

    async def text(self, identity: Identity, item: str) -> SubjectText | None:
        """What an item is about, to those who may read it."""
        found = self._log.find(identity.tenant, item)
        if found is None:
            return None
        if found.item.subject_kind == "document":
            return await self._document(identity, found)
        asked = self._questions.find(identity.tenant, found.item.subject)
        answer = self._answers.first((identity.tenant, found.item.subject))
        if asked is None:
            return None
        text = ""
        if answer is not None:
            readable = self._visible(identity)
            text = answer.text if quotes_only(answer.citations, readable) else ""
        return SubjectText(question=asked.question, text=text)

    async def decide(self, identity: Identity, item: str, decision: str, text: str = "") -> ReviewItem | None:
        """Write a decision; the same one again is written once."""
        await self._log.caught_up()  # another replica may have taken one
        found = self._log.find(identity.tenant, item)
        if found is None:
            return None
        try:
            made = decided(
                found.item,
                found.last,
                decision,
                user=identity.user,
                text=text,
                conversation=self._conversation(found),
            )
        except UnfittingDecision as error:
            raise Problem(409, error.error_type, str(error)) from error
        if made is not None:
            await self._write(made, found.last)
        return await self.item(identity, item)

    async def _write(self, made: ReviewDecisionMade, last: ReviewDecisionMade | None) -> None:
        if self._produce is None:
            raise Unavailable("decisions cannot be written before the gateway has started; try again shortly")
        meta = decision_meta(made, last, source=_SOURCE, time_us=time.time_ns() // 1000)
        await self._produce(made.with_meta(meta))
        await self._log.caught_up()

    def _conversation(self, found: Reviewable) -> str:
        """Conversation of an item that does not name it."""
        asked = self._questions.find(found.item.tenant, found.item.subject)
        return asked.conversation if asked is not None else ""

    async def _document(self, identity: Identity, found: Reviewable) -> SubjectText | None:
        content = found.item.content
        if content is None or not self._may_read(identity, found.item.subject):
            return None
        try:
            data = await self._get(content)
        except ObjectMissing:
            return None
        if not self._may_read(identity, found.item.subject):  # a right may be gone meanwhile
            return None
        current = self._tail.current(identity.tenant, found.item.subject)
        title = current.title if current is not None and not current.deleted else ""
        return SubjectText(title=title or found.item.subject, text=data.decode("utf-8", "replace"))

    def _may_read(self, identity: Identity, document: str) -> bool:
        """Whether the document is for one of the caller's groups, leaving aside that it is held back or withdrawn."""
        if not self._tail.confirmed():
            raise Unavailable(
                "what may be read is not known at the moment: the visibility table is behind the log; try again shortly"
            )
        known = self._tail.access(identity.tenant, document)
        return known is not None and bool(set(restored(known[1])) & set(identity.groups))

    def _visible(self, identity: Identity) -> set[str]:
        if not self._tail.confirmed():
            return set()
        return set(self._tail.visible(identity.tenant, identity).documents())


def _wanted(found: Reviewable, state: State, kind: str) -> bool:
    if kind and kind not in {found.item.kind, found.item.subject_kind}:
        return False
    return state == "all" or (state == "open") == (found.last is None)


def _shown(found: Reviewable) -> ReviewItem:
    item = found.item
    return ReviewItem(
        item=item.item,
        subject_kind=item.subject_kind,
        subject=item.subject,
        version=item.version,
        kind=item.kind,
        rule=item.rule,
        action=item.action,
        reason=item.reason,
        opened_at_ms=found.opened_at_ms,
        spans=item.spans,
        decisions=tuple(
            DecisionView(decision=made.decision, user=made.user, at_ms=at_ms, text=made.text)
            for at_ms, made in (found.decisions if found.last is not None else ())  # else about another text
        ),
        fitting=tuple(fitting(item, found.last)),
    )
