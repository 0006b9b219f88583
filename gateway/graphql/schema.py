"""The schema: what can be asked for, and how it is looked up."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import strawberry
from graphql import GraphQLError
from graphql.validation import MaxIntrospectionDepthRule
from pydantic import ValidationError
from strawberry.extensions import AddValidationRules
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from gateway.graphql.fields import done, looked_up
from gateway.graphql.shapes import (
    Answer,
    Asked,
    Document,
    DocumentConnection,
    First,
    PageInfo,
    Trace,
    answers_of,
    within,
)
from gateway.http.answers import sealed_watermark
from gateway.http.questions import QuestionBody
from gateway.http.receipts import receipts_of
from gateway.problems import Problem, invalid
from gateway.service import Ask

log = logging.getLogger(__name__)


@strawberry.input(description="A label that documents must have.")
class LabelInput:
    """A name with a value."""

    name: str
    value: str


@strawberry.type
class Query:
    """Everything that can be looked up."""

    @looked_up("Documents that the caller may read, in order of their ids.")
    async def documents(
        self,
        info: Asked,
        first: First = 20,
        after: Annotated[str, strawberry.argument(description="`endCursor` of the page before.")] = "",
        text: Annotated[str, strawberry.argument(description="What must occur in id or title.")] = "",
    ) -> DocumentConnection:
        """A page of documents."""
        caller = info.context
        page = await caller.service.library.documents(caller.identity, text=text, after=after, limit=within(first))
        return DocumentConnection(
            nodes=await asyncio.to_thread(lambda: [Document.of(found, caller.mask) for found in page.items]),
            page_info=PageInfo(has_next_page=bool(page.next), end_cursor=page.next or None),
        )

    @looked_up("One document; null for one that does not exist or that the caller may not read.")
    async def document(self, info: Asked, id: strawberry.ID) -> Document | None:  # noqa: A002 - GraphQL's name for it
        """One document."""
        caller = info.context
        found = await caller.service.library.document(caller.identity, str(id))
        return Document.of(found, caller.mask) if found is not None else None

    @looked_up("Newest answers that the caller may see.")
    async def answers(self, info: Asked, first: First = 20) -> list[Answer]:
        """Newest answers."""
        caller = info.context
        return answers_of(await caller.service.library.answers(caller.identity, limit=within(first)), caller.link)

    @looked_up("A question by its correlation or trace id: what happened, what it was read from.")
    async def trace(self, info: Asked, id: strawberry.ID) -> Trace | None:  # noqa: A002 - GraphQL's name for it
        """Everything between a question and its answer."""
        caller = info.context
        found = await caller.service.library.trace(caller.identity, str(id))
        return Trace.of(found, caller.link) if found is not None else None


@strawberry.type
class Mutation:
    """What leaves something in the log."""

    @done("Ask, and wait for the answer.")
    async def ask(
        self,
        info: Asked,
        question: str,
        top_k: int = 10,
        labels: list[LabelInput] = [],  # noqa: B006 - strawberry reads the default, nobody changes it
        conversation: str = "",
        after: list[str] = [],  # noqa: B006 - the same
        watermark: str = "",
        timeout_s: float = 30.0,
    ) -> Answer:
        """Ask, and wait for the answer."""
        caller = info.context
        if "ask" not in caller.identity.scopes:
            raise Problem(403, "forbidden", "this token may not ask questions")
        try:
            asked = QuestionBody(
                question=question,
                conversation=conversation,
                top_k=top_k,
                labels={label.name: label.value for label in labels},
                after=after,
                watermark=watermark,
                timeout_s=timeout_s,
            )
        except ValidationError as error:
            raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from error
        found = Ask(
            question=asked.question,
            conversation=asked.conversation,
            top_k=asked.top_k,
            labels=asked.labels,
            after=receipts_of(caller.service.seals, caller.identity, asked.after),
            watermark=asked.watermark,
            timeout_s=timeout_s,
        )
        service, identity = caller.service, caller.identity
        service.admission.request(identity)  # one operation can ask several times
        answer = await service.asking.answer(identity, found)
        return Answer.given(answer, sealed_watermark(service.seals, identity, answer.watermark), caller.link)


class QuietSchema(strawberry.Schema):
    """Does not log an operation or what failed in it: both hold what callers wrote."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log the kinds of errors that are nobody's mistake but ours."""
        del execution_context
        for error in errors:
            found = error.original_error
            if found is not None and not isinstance(found, Problem):
                log.warning("a field of a GraphQL operation failed: %s", type(found).__name__)


def build_schema() -> strawberry.Schema:
    """The schema, without subscriptions, batches and suggestions of names."""
    return QuietSchema(
        query=Query,
        mutation=Mutation,
        extensions=[lambda: AddValidationRules([MaxIntrospectionDepthRule])],
        config=StrawberryConfig(disable_field_suggestions=True),
    )
