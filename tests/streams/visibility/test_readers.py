import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import AIOKafkaProducer

from millrace.event import Event, Meta
from millrace.events.corpus import StatisticsComputed
from millrace.events.query import AnswerProduced
from millrace.topics import ANSWER_PRODUCED, STATISTICS_COMPUTED, Topic
from streams.embedded_broker import EmbeddedBroker
from streams.visibility.answers import RecentAnswers
from streams.visibility.term_statistics import StatisticsView
from tests.streams.visibility.corpus_log import CODEC


class Log:
    def __init__(self, broker: EmbeddedBroker) -> None:
        self.bootstrap = broker.bootstrap
        self.producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=1)
        broker.create_topic(ANSWER_PRODUCED.name, 2)
        broker.create_topic(STATISTICS_COMPUTED.name, 1)

    async def produce(self, topic: Topic, event: Event) -> None:
        meta = Meta(id="1", type=event.type_name(), source="test", time_us=1, tenant=event.tenant)
        record = CODEC.record(topic, event.with_meta(meta))
        await self.producer.send_and_wait(topic.name, record.value, key=record.key, headers=record.headers)


@pytest.fixture
async def log(start_embedded: Callable[[], EmbeddedBroker]) -> AsyncIterator[Log]:
    log = Log(start_embedded())
    await log.producer.start()
    yield log
    await log.producer.stop()


def answer(correlation: str, text: str) -> AnswerProduced:
    return AnswerProduced(
        tenant="acme", conversation=correlation, correlation=correlation, status="answered", text=text
    )


async def test_the_first_terminal_record_of_a_question_is_found_and_later_ones_are_not(log: Log) -> None:
    await log.produce(ANSWER_PRODUCED, answer("one", "first"))
    await log.producer.send_and_wait(ANSWER_PRODUCED.name, b"junk", key=b"t/acme/c/one")
    answers = RecentAnswers({"bootstrap_servers": log.bootstrap}, fetch_max_wait_ms=5)
    await answers.start()
    await log.produce(ANSWER_PRODUCED, answer("one", "second"))
    await log.produce(ANSWER_PRODUCED, answer("two", "other"))
    await asyncio.wait_for(answers.caught_up([0, 1]), 20)
    assert answers.ready()
    found = [answers.find("acme", correlation) for correlation in ("one", "two", "three")]
    assert [event.text if event else None for event in found] == ["first", "other", None]
    assert answers.find("globex", "one") is None
    assert answers.n_undecodable == 1
    await answers.stop()


async def test_an_answer_of_this_process_is_known_at_once_and_gives_way_to_what_the_log_held_first(log: Log) -> None:
    answers = RecentAnswers({"bootstrap_servers": log.bootstrap}, fetch_max_wait_ms=5)
    await answers.start()
    for correlation in ("unread", "late"):
        answers.note(answer(correlation, "noted"))
    assert answers.find("acme", "unread") == answer("unread", "noted")
    await log.produce(ANSWER_PRODUCED, answer("late", "of another process"))
    await log.produce(ANSWER_PRODUCED, answer("late", "noted"))
    await asyncio.wait_for(answers.caught_up(), 20)
    found = answers.find("acme", "late")
    answers.note(answer("late", "noted again"))
    assert found is not None
    assert found == answers.find("acme", "late")
    assert found.text == "of another process"
    assert set(answers._unread) == {("acme", "unread")}, "what was read is kept once"
    await answers.stop()


async def test_answers_take_a_bounded_amount_of_memory_and_the_oldest_go_first(log: Log) -> None:
    answers = RecentAnswers({"bootstrap_servers": log.bootstrap}, fetch_max_wait_ms=5, max_bytes=8000)
    await answers.start()
    for n in range(20):
        await log.produce(ANSWER_PRODUCED, answer(str(n), "x" * 1000))
    await asyncio.wait_for(answers.caught_up(), 20)
    kept = [n for n in range(20) if answers.find("acme", str(n)) is not None]
    assert 5 <= len(kept) <= 8
    assert kept[-1] == 19
    await answers.stop()


async def test_answers_older_than_the_longest_deadline_are_forgotten(log: Log) -> None:
    answers = RecentAnswers({"bootstrap_servers": log.bootstrap}, fetch_max_wait_ms=5, keep_s=60)
    await answers.start()
    now = round(time.time() * 1000)
    for correlation, timestamp in (("old", now - 100_000), ("new", now)):
        meta = Meta(id=correlation, type=AnswerProduced.type_name(), source="test", time_us=1, tenant="acme")
        record = CODEC.record(ANSWER_PRODUCED, answer(correlation, "").with_meta(meta))
        await log.producer.send_and_wait(
            record.topic, record.value, key=record.key, headers=record.headers, timestamp_ms=timestamp
        )
    await asyncio.wait_for(answers.caught_up(), 20)
    assert answers.find("acme", "new") is not None
    assert answers.find("acme", "old") is None
    await answers.stop()


async def test_the_newest_statistics_of_a_tenant_are_loaded_once(log: Log) -> None:
    asked = []

    async def get(ref: str) -> bytes:
        asked.append(ref)
        return ref.encode()

    view = StatisticsView(
        {"bootstrap_servers": log.bootstrap}, get, lambda event, data: (event.epoch, data), fetch_max_wait_ms=5
    )
    await view.start()
    assert await view.current("acme") is None
    for epoch in (1, 3, 2):
        await log.produce(
            STATISTICS_COMPUTED,
            StatisticsComputed(tenant="acme", epoch=epoch, n_chunks=1, mean_tokens=1.0, frequencies=f"sha256:{epoch}"),
        )
    await asyncio.wait_for(view.caught_up(), 20)
    assert await view.current("acme") == (3, b"sha256:3")
    assert await view.current("acme") == (3, b"sha256:3")
    assert await view.current("globex") is None
    assert asked == ["sha256:3"]
    await view.stop()
