"""What people say of answers, and do with them, as events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, TypedDict

from millrace.client.answers import Answer
from millrace.client.asking import Asked
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import InputRejected
from millrace.events.feedback import Explicit, FeedbackGiven
from millrace.events.query import QueryReceived
from millrace.positions import Start
from millrace.reader import LogReader, decode
from millrace.topics import QUERY_RECEIVED

MAX_TEXT: Final = 8_000
"""Characters of a correction or a comment."""
MAX_RATING: Final = 5
_KINDS: Final = ("up", "down", "rating", "correction", "comment")


class FeedbackOptions(TypedDict, total=False):
    """What is said of an answer: one of `up`, `down`, `rating` and `correction`, with or without a comment.

    Attributes
    ----------
    up, down : bool
        It helped, or it did not.
    rating : int
        1 (useless) to 5 (right).
    correction : str
        What the answer should have been.
    comment : str
        Anything else; alone it says nothing of the answer.
    user : str
        Who says it.
    tenant : str
        Whose question it was; the client's tenant by default.
    conversation : str
        Conversation of the question, where its name alone is given and the log is not to be searched for it.
    """

    up: bool
    down: bool
    rating: int
    correction: str
    comment: str
    user: str
    tenant: str
    conversation: str


class NoSuchAnswer(InputRejected):
    """The log has no question of this name."""

    error_type = "not_found"


def feedback_of(tenant: str, correlation: str, conversation: str, options: FeedbackOptions) -> FeedbackGiven:
    """Event of a call's arguments.

    Raises
    ------
    InputRejected
        If nothing is said, several things are, or they are out of bounds.
    """
    comment, correction = options.get("comment", "").strip(), options.get("correction", "").strip()
    rating = options.get("rating", 0)
    said = [kind for kind in _KINDS[:-1] if options.get(kind)]
    if "correction" in said and (comment or not correction):
        raise InputRejected("a correction stands alone and says something; send a comment by itself")
    if len(said) > 1:
        raise InputRejected(f"an answer is judged by one of {', '.join(_KINDS[:-1])} at a time; got {', '.join(said)}")
    if not said and not comment:
        raise InputRejected(f"nothing is said of the answer; give one of {', '.join(_KINDS)}")
    if rating and not 1 <= rating <= MAX_RATING:
        raise InputRejected(f"a rating is 1 to {MAX_RATING}; got {rating}")
    text = correction or comment
    if len(text) > MAX_TEXT:
        raise InputRejected(f"the text has {len(text)} characters, at most {MAX_TEXT} are kept; shorten it")
    kind: Explicit = said[0] if said else "comment"  # type: ignore[assignment]  # one of _KINDS
    return FeedbackGiven(
        tenant=tenant,
        conversation=conversation,
        correlation=correlation,
        user=options.get("user", ""),
        kind=kind,
        rating=rating,
        text=text,
    )


async def place_of(
    connection: Connection, answer: Answer | Asked | str, tenant: str, conversation: str
) -> tuple[str, str]:
    """Correlation id and conversation of an answer; of a name alone from the log, with the errors of that."""
    match answer:
        case Answer():
            return answer.correlation_id, answer.conversation
        case Asked():
            return answer.correlation, answer.conversation
    if conversation:
        return answer, conversation
    found = await asyncio.to_thread(find_question, connection, answer, tenant=tenant)
    return found.meta.correlation_id, found.conversation


def find_question(connection: Connection, name: str, *, tenant: str = "", start: Start = "beginning") -> QueryReceived:
    """Find a question in the log by correlation or trace id; of several attempts of one trace, the last one.

    Raises
    ------
    NoSuchAnswer
        The log has none.
    """
    codec = codec_of(connection)
    found: QueryReceived | None = None
    topics: Sequence[str] = [QUERY_RECEIVED.name]
    with LogReader(connection, topics, start=start) as reader:
        for record in reader:
            trace = record.header("traceparent").split("-")[1:2]
            if name not in {record.header("ce_correlationid"), *trace}:
                continue
            event = decode(codec, record, QUERY_RECEIVED)
            if isinstance(event, QueryReceived) and tenant in {"", event.tenant}:
                found = event
    if found is None:
        raise NoSuchAnswer(
            f"the log has no question {name!r}; take the trace id that `millrace ask` printed, or its topics have "
            "forgotten it"
        )
    return found
