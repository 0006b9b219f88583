"""A client whose registry hangs or is away: others go on, and nothing that was waited for is passed over."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import Unavailable
from millrace.schema import avro_schema, schema_id
from millrace.schema_lock import released
from tests.conditions import until
from tests.millrace.workers import answering, completed, indexing


class Registry:
    """Knows every schema under the id that it has anyway, so that a client has to ask for each."""

    def __init__(self) -> None:
        self.down = False
        self.n_asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def schema(self, number: int) -> dict[str, Any] | None:
        self.n_asked += 1
        assert self.answers.wait(20)
        if self.down:
            raise Unavailable("the registry does not answer")
        return released().writer(number)

    def codec(self) -> Codec:
        return Codec(ids=lambda event, _: schema_id(avro_schema(event)), writers=self.schema)


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_the_loop_goes_on_while_the_registry_is_asked(
    embedded: Connection, tenant: str, registry: Registry
) -> None:
    registry.answers.clear()
    with answering(embedded, tenant, lambda question: [completed(question, "42")]):
        async with Millrace(embedded, codec=registry.codec(), tenant=tenant) as client:
            asked = asyncio.create_task(client.ask("How many?", timeout_s=20))
            await until(lambda: registry.n_asked > 0)  # a blocked loop would not come here before the registry gave up
            registry.answers.set()
            assert (await asked).text == "42"


async def test_a_question_ends_when_the_registry_is_away_and_the_next_one_is_answered(
    embedded: Connection, tenant: str, registry: Registry
) -> None:
    registry.down = True
    with answering(embedded, tenant, lambda question: [completed(question, "42")]):
        async with Millrace(embedded, codec=registry.codec(), tenant=tenant) as client:
            with pytest.raises(Unavailable, match="the registry does not answer"):
                await client.ask("How many?", timeout_s=20)
            registry.down = False
            assert (await client.ask("How many?", timeout_s=20)).text == "42"


async def test_an_outcome_is_waited_for_until_the_registry_is_back(
    embedded: Connection, tenant: str, registry: Registry
) -> None:
    with indexing(embedded, tenant):
        async with Millrace(embedded, codec=registry.codec(), tenant=tenant) as client:
            registry.down = True
            receipt = await client.put_document("notes.md", "It says 42.")
            waiting = asyncio.create_task(client.wait([receipt], 30))
            asked = registry.n_asked
            await until(lambda: registry.n_asked > asked + 1)
            registry.down = False
            assert [outcome.outcome for outcome in await waiting] == ["indexed"]
