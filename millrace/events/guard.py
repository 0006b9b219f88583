"""Events of the guards: what was found in a question, an answer or a document, and what a person should look at."""

from typing import Annotated, ClassVar, Literal

import msgspec

from millrace.event import Event

SubjectKind = Literal["question", "answer", "document"]
Action = Literal["allow", "flag", "mask", "block", "retract", "hold"]
Decision = Literal["release", "withdraw", "confirm", "dismiss", "correct"]
"""release: a document may be read after all; withdraw: it may not; confirm: the finding is right; dismiss: it is not;
correct: the answer should have been another one."""

MAX_SPANS = 20
"""Places that a verdict names at most; it says how many there were."""


class Span(msgspec.Struct, frozen=True):
    """A place in a text."""

    start: Annotated[int, "First character."]
    end: Annotated[int, "Character after the last one."]


class _GuardEvent(Event, frozen=True, kw_only=True):
    """What a guard has looked at."""

    namespace: ClassVar[str] = "millrace.guard"

    tenant: Annotated[str, "Tenant that the subject belongs to."]
    subject_kind: Annotated[SubjectKind, "What was looked at."]
    subject: Annotated[str, "Document id; for questions and answers their correlation id."]
    version: Annotated[int, "Version of the document; 0 for questions and answers."] = 0
    stage: Annotated[str, "Agent that looked."]
    rule: Annotated[str, "Bounded name of the rule, such as EMAIL_ADDRESS or override."]


class VerdictGiven(_GuardEvent, frozen=True, kw_only=True):
    """What a rule found in a subject, and what follows; it names places, never the text at them."""

    kind: Annotated[str, "What the rule is about: injection, hidden_text, personal_data, secret, link and so on."]
    action: Annotated[Action, "What was done."]
    spans: Annotated[
        tuple[Span, ...],
        "Places in the text that was looked at: a question as it was admitted, a completion, a document.",
    ] = ()
    n_found: Annotated[int, "How many places there were; `spans` may name fewer."] = 0
    score: Annotated[float, "How sure the rule is, 0 to 1."] = 1.0

    def slot(self) -> str:
        """Verdicts on one input are told apart by subject, rule and action."""
        return f"{self.subject_kind}:{self.subject}:{self.rule}:{self.action}"

    @property
    def short(self) -> str:
        """The verdict in a word, as AnswerProduced lists it."""
        return f"{self.stage}:{self.rule}:{self.action}"


class ReviewItemOpened(_GuardEvent, frozen=True, kw_only=True):
    """Something that a person should look at; opened again, it is the same item."""

    namespace: ClassVar[str] = "millrace.review"

    item: Annotated[str, "Id of the item, derived from the subject and the kind of what was found."]
    reason: Annotated[str, "What was found and what was done, without the text."]
    kind: Annotated[str, "What it is about: injection, hidden_text, personal_data, poor_answer and so on."] = ""
    action: Annotated[Action, "What was done; a document that is held is not visible, one that is flagged is."] = "flag"
    spans: Annotated[tuple[Span, ...], "Places in the text that was looked at, of all rules."] = ()
    content: Annotated[
        str | None, "Object with the text that the places are in; null for questions and answers, which are on the log."
    ] = None
    manifest: Annotated[str | None, "Object with the version that is held back; null where none is."] = None
    conversation: Annotated[str, "Conversation of the question; empty for documents."] = ""

    def slot(self) -> str:
        """Items are told apart by their id."""
        return self.item


class ReviewDecisionMade(Event, frozen=True, kw_only=True):
    """A person decided about an item; of one item the last decision counts."""

    namespace: ClassVar[str] = "millrace.review"

    tenant: Annotated[str, "Tenant that the subject belongs to."]
    item: Annotated[str, "Id of the item."]
    subject_kind: Annotated[SubjectKind, "What it is about."]
    subject: Annotated[str, "Document id, or correlation id of the question."]
    version: Annotated[int, "Version of the document; 0 for questions and answers."] = 0
    decision: Annotated[Decision, "What was decided."]
    user: Annotated[str, "Who decided."]
    text: Annotated[str, "The right answer, where one was given; otherwise a note."] = ""
    conversation: Annotated[str, "Conversation of the question; empty for documents."] = ""
    content: Annotated[str | None, "As in the item: a release holds for this text of this document and no other."] = (
        None
    )
    manifest: Annotated[str | None, "As in the item: what becomes visible when it is released."] = None
