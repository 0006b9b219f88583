"""What a worker is composed of, shown by what it does on a real log."""

import asyncio

from agents.query import answer_question
from agents.query.policy import QueryPolicy
from millrace.codec import Codec
from millrace.event import Meta, attach
from millrace.events.corpus import DocumentIndexed
from millrace.topics import DOCUMENT_INDEXED
from streams.producer import Producer, acknowledged
from tests.system.stacks import System


def written(tenant: str, version: int) -> DocumentIndexed:
    """A version, indexed at the beginning of time."""
    event = DocumentIndexed(tenant=tenant, document="a.md", version=version)
    meta = Meta(id=f"{tenant}-{version}", type=event.type_name(), source="test", time_us=version, tenant=tenant)
    return attach(event, meta)


async def test_a_worker_that_only_answers_forgets_versions_older_than_the_retention(
    system: System, tenant: str
) -> None:
    async with Producer(system.connection.aiokafka()) as producer:
        records = [Codec().record(DOCUMENT_INDEXED, written(tenant, version)) for version in (1, 2)]
        await acknowledged([await producer.send(record) for record in records])
    async with system.composed([answer_question], f"asks-{tenant}") as composition:
        tail = composition.tail
        assert tail is not None
        async with asyncio.timeout(20):
            while [each.version for each in tail.retained(tenant, "a.md")] != [2]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)


async def test_ends_of_questions_are_known_for_longer_than_any_question_may_take(system: System, tenant: str) -> None:
    async with system.composed([answer_question], f"asks-{tenant}") as composition:
        assert composition.answers is not None
        assert composition.answers.keep_s * 1000 > QueryPolicy().max_timeout_ms
