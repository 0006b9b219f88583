"""Events about how an answer was received: what people say, and what they do with it."""

from typing import Annotated, ClassVar, Final, Literal

from millrace.event import Event

Explicit = Literal["up", "down", "rating", "correction", "comment"]
Implicit = Literal["rephrased", "abandoned", "copied", "escalated"]
FeedbackKind = Literal[Explicit, Implicit]
InteractionKind = Literal["copied", "opened", "escalated", "left"]

SAYS: Final = {"up": 1.0, "down": -1.0, "correction": -1.0, "rephrased": -0.5, "abandoned": -0.5, "copied": 0.5,
               "escalated": -1.0}  # fmt: skip
"""What a kind of feedback says of the answer, -1 to 1; a comment says nothing, a rating what it is."""


class _AboutAnswer(Event, frozen=True, kw_only=True):
    """What every event about an answer names."""

    namespace: ClassVar[str] = "millrace.query"

    tenant: Annotated[str, "Tenant of the asker."]
    conversation: Annotated[str, "Conversation of the question."]
    correlation: Annotated[str, "Correlation id of the question whose answer it is about."]
    user: Annotated[str, "Who gave or caused it; empty for nobody in particular."] = ""


class FeedbackGiven(_AboutAnswer, frozen=True, kw_only=True):
    """An answer was judged, in words or clicks by a person, or by what they did next."""

    kind: Annotated[FeedbackKind, "What was said or done."]
    implicit: Annotated[bool, "Whether it was concluded from behaviour."] = False
    rating: Annotated[int, "1 to 5; 0 where it is no rating."] = 0
    text: Annotated[str, "Correction or comment, as it was written; for rephrased, the later question."] = ""
    score: Annotated[float, "How sure an implicit conclusion is, 0 to 1."] = 1.0

    def slot(self) -> str:
        """Conclusions from one input are told apart by answer and kind."""
        return f"{self.correlation}:{self.kind}"

    def once(self) -> str:
        """A conclusion is one event for an answer and a kind, whichever record let it be drawn."""
        return f"{self.tenant}:{self.correlation}:{self.kind}" if self.implicit else ""

    @property
    def value(self) -> float:
        """What it says of the answer, -1 (useless) to 1 (right)."""
        return (self.rating - 3) / 2 if self.kind == "rating" else SAYS.get(self.kind, 0.0)


class InteractionObserved(_AboutAnswer, frozen=True, kw_only=True):
    """Someone did something with an answer, as a page or an app saw it; what follows from it is decided elsewhere."""

    kind: Annotated[InteractionKind, "copied from it, opened one of its sources, asked for a person, or left."]


class SessionDue(Event, frozen=True, kw_only=True):
    """A conversation was quiet for so long that its session may be closed; carries the time instead of a clock."""

    namespace: ClassVar[str] = "millrace.query"

    tenant: Annotated[str, "Tenant."]
    conversation: Annotated[str, "Conversation."]
    until_us: Annotated[int, "Event time up to which everything of the conversation is taken to have arrived, us."]
    positions: Annotated[
        dict[str, int], "Offset of the conversation's last record by topic: what has to be read before it is closed."
    ] = {}
