"""What callers say of answers to their own questions, and what they do with them, on the log."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.identity import Identity
from gateway.problems import missing
from gateway.service import Service
from millrace.client import Produced
from millrace.client.feedback import MAX_RATING, MAX_TEXT, FeedbackOptions
from millrace.errors import InputRejected
from millrace.events.feedback import Explicit, InteractionKind

__all__ = ["MAX_NAME", "MAX_TEXT", "Opinion", "give", "observe"]

MAX_NAME: Final = 64
"""Characters of a question's name."""


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of an answer; `text` is the correction or comment."""

    kind: Explicit
    rating: int = 0
    text: str = ""

    def options(self) -> FeedbackOptions:
        """The same as the client takes it.

        Raises
        ------
        InputRejected
            It is a rating without one: with a text it would be taken for a comment.
        """
        if self.kind == "correction":
            return {"correction": self.text}
        if self.kind == "rating":
            if not self.rating:
                raise InputRejected(f"a rating is 1 to {MAX_RATING}; got 0, or none")
            return {"rating": self.rating, "comment": self.text}
        if self.kind == "comment":
            return {"comment": self.text}
        return {"up": self.kind == "up", "down": self.kind == "down", "comment": self.text}


async def give(service: Service, identity: Identity, question: str, opinion: Opinion) -> Produced:
    """Write what a caller says of the answer to an own question.

    Raises
    ------
    Problem
        404 for a question that is not the caller's, whether there is one or not.
    InputRejected
        It says nothing, or too much.
    Unavailable
        The broker did not acknowledge in time.
    """
    options = opinion.options()
    options["conversation"] = await _own(service, identity, question)
    options["tenant"], options["user"] = identity.tenant, identity.user
    return await service.millrace.feedback(question, **options)


async def observe(service: Service, identity: Identity, question: str, kind: InteractionKind) -> Produced:
    """Write what a caller did with the answer to an own question; errors as of `give`."""
    conversation = await _own(service, identity, question)
    return await service.millrace.interact(
        question, kind, tenant=identity.tenant, user=identity.user, conversation=conversation
    )


async def _own(service: Service, identity: Identity, question: str) -> str:
    """Conversation of a question that the caller asked."""
    found = await service.library.question(identity, question) or await service.asking.recall(identity, question)
    if found is None or not found.conversation:
        raise missing("question")
    return found.conversation
