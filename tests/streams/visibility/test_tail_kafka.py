"""What only a real broker can show: gaps left by transactions, and looking offsets up by time."""

import asyncio
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient

from millrace.event import Meta
from millrace.events.query import AnswerProduced
from millrace.topics import ACL_CHANGED, ANSWER_PRODUCED, DOCUMENT_INDEXED, DOCUMENT_SETTLED
from streams.admin import create_topics, plan_topics
from streams.visibility.answers import RecentAnswers
from streams.visibility.tail import Tail
from tests.brokers import StartKafka
from tests.streams.visibility.corpus_log import CODEC, CorpusLog, acl, asker, indexed


async def test_on_kafka_the_end_is_reached_across_transaction_markers_and_answers_begin_by_time(
    start_kafka: StartKafka, tmp_path: Path
) -> None:
    bootstrap = (await asyncio.to_thread(start_kafka)).bootstrap
    topics = (DOCUMENT_INDEXED, ACL_CHANGED, DOCUMENT_SETTLED, ANSWER_PRODUCED)
    await asyncio.to_thread(create_topics, AdminClient({"bootstrap.servers": bootstrap}), plan_topics(topics, {}))
    log = CorpusLog()
    now = round(time.time() * 1000)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="t") as producer, producer.transaction():
        for event in (acl("a.md", 1, "*"), indexed("a.md", 1)):
            record = log.append(event)
            await producer.send_and_wait(record.topic, record.value, key=record.key, headers=record.headers)
        for correlation, age_ms in (("old", 3_600_000), ("new", 0)):
            answer = AnswerProduced(tenant="acme", conversation="c", correlation=correlation, status="answered")
            meta = Meta(id=correlation, type=answer.type_name(), source="test", time_us=1, tenant="acme")
            sent = CODEC.record(ANSWER_PRODUCED, answer.with_meta(meta))
            await producer.send_and_wait(
                sent.topic, sent.value, key=sent.key, headers=sent.headers, timestamp_ms=now - age_ms
            )
    for _ in range(2):  # from zero, then from the file
        tail = Tail(tmp_path / "visibility.sqlite", {"bootstrap_servers": bootstrap}, log_epoch="cluster")
        await tail.start()
        await asyncio.wait_for(tail.wait_ready(), 20)
        await asyncio.wait_for(tail.caught_up(), 20)
        assert tail.visible("acme", asker()).n_documents == 1
        await tail.stop()
    answers = RecentAnswers({"bootstrap_servers": bootstrap})
    await answers.start()
    await asyncio.wait_for(answers.caught_up(), 20)
    assert answers.find("acme", "new") is not None
    assert answers.find("acme", "old") is None
    await answers.stop()
