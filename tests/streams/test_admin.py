"""Topics come from the catalogue, by an explicit step, and are never altered."""

import time
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from millrace.errors import ConfigurationError, Unavailable
from millrace.topics import CATALOGUE, DAY_MS, DOCUMENT_INDEXED, REPLY, SOURCE_CHANGED
from streams.admin import (
    DEFAULT_PARTITIONS,
    TopicPlan,
    _await_leaders,
    create_topics,
    plan_topics,
    refuse_compacted,
    touch_topics,
)
from tests.brokers import Broker


def _client(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def _config(client: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in client.describe_configs([resource])[resource].result().items()}


def _plan(name: str, partitions: int) -> TopicPlan:
    return TopicPlan(name, partitions, {})


def test_every_topic_but_the_reply_topic_has_a_dead_letter_topic() -> None:
    names = {plan.name for plan in plan_topics(CATALOGUE.values(), {})}
    assert names == set(CATALOGUE) | {topic.dead_letters for topic in CATALOGUE.values() if topic is not REPLY}


def test_a_topic_has_the_partitions_of_its_key_group_and_its_dead_letters_too() -> None:
    plans = {plan.name: plan.partitions for plan in plan_topics(CATALOGUE.values(), {"corpus": 7})}
    for topic in CATALOGUE.values():
        assert plans[topic.name] == (7 if topic.group == "corpus" else DEFAULT_PARTITIONS)
        assert plans.get(topic.dead_letters, plans[topic.name]) == plans[topic.name]


def test_dead_letters_are_deleted_by_age_and_may_be_64_kb_larger() -> None:
    plans = {plan.name: plan.config for plan in plan_topics([DOCUMENT_INDEXED, SOURCE_CHANGED], {})}
    assert plans[DOCUMENT_INDEXED.dead_letters] == {
        "cleanup.policy": "delete",
        "retention.ms": str(30 * DAY_MS),
        "max.message.bytes": str(DOCUMENT_INDEXED.max_bytes + 65_536),
    }
    assert plans[SOURCE_CHANGED.dead_letters]["retention.ms"] == str(7 * DAY_MS)


def test_kafka_gets_the_retention_compaction_and_size_of_the_catalogue(kafka_broker: Broker) -> None:
    client = _client(kafka_broker)
    plans = [
        TopicPlan(kafka_broker.name(plan.name), plan.partitions, plan.config)
        for plan in plan_topics([DOCUMENT_INDEXED, SOURCE_CHANGED], {"corpus": 3})
    ]
    assert create_topics(client, plans) == {plan.name: 3 for plan in plans}
    indexed = _config(client, kafka_broker.name(DOCUMENT_INDEXED.name))
    assert indexed["cleanup.policy"] == "compact"
    assert indexed["min.compaction.lag.ms"] == str(DOCUMENT_INDEXED.retention_ms)
    assert indexed["max.message.bytes"] == str(DOCUMENT_INDEXED.max_bytes)
    changed = _config(client, kafka_broker.name(SOURCE_CHANGED.name))
    assert (changed["cleanup.policy"], changed["retention.ms"]) == ("delete", str(7 * DAY_MS))


def test_a_topic_of_others_that_is_compacted_is_refused(kafka_broker: Broker) -> None:
    client = _client(kafka_broker)
    good = kafka_broker.create_topic("aged")
    refuse_compacted(client, [good])
    refuse_compacted(client, [])
    for policy in ("compact", "compact,delete"):
        bad = kafka_broker.create_topic(policy.replace(",", "."), config={"cleanup.policy": policy})
        with pytest.raises(ConfigurationError, match=rf"{bad}' has cleanup.policy={policy}, allowed is 'delete'"):
            refuse_compacted(client, [good, bad])
    with pytest.raises(Unavailable, match="cannot be read"):
        refuse_compacted(client, [kafka_broker.name("missing")])


def test_creating_again_is_harmless_and_adds_only_what_is_new(kafka_broker: Broker) -> None:
    client = _client(kafka_broker)
    first, second = kafka_broker.name("first"), kafka_broker.name("second")
    create_topics(client, [_plan(first, 2)])
    assert create_topics(client, [_plan(first, 2), _plan(second, 1)]) == {first: 2, second: 1}


def test_another_number_of_partitions_is_refused_with_a_remedy_and_not_altered(kafka_broker: Broker) -> None:
    client, name = _client(kafka_broker), kafka_broker.name("topic")
    create_topics(client, [_plan(name, 2)])
    with pytest.raises(ConfigurationError, match=r"has 2 \(settings say 4\); set `partitions` to what is there"):
        create_topics(client, [_plan(name, 4)])
    assert create_topics(client, [_plan(name, 2)]) == {name: 2}


def test_a_topic_that_kafka_refuses_is_named(kafka_broker: Broker) -> None:
    with pytest.raises(ConfigurationError, match="refused to create topic 'not a name'"):
        create_topics(_client(kafka_broker), [_plan("not a name", 1)])


def test_kafka_creates_no_topic_by_itself(kafka_broker: Broker) -> None:
    client, name = _client(kafka_broker), kafka_broker.name("unasked")
    client.list_topics(name, timeout=10)
    assert name not in client.list_topics(timeout=10).topics


def test_the_embedded_broker_gets_exact_partitions_through_its_control_port(embedded_broker: Broker) -> None:
    client, name = _client(embedded_broker), embedded_broker.name("exact")

    def create(name: str, partitions: int) -> bool:
        embedded_broker._create(name, partitions, {})
        return True

    assert touch_topics(client, [_plan(name, 3)], create=create) == {name: 3}
    with pytest.raises(ConfigurationError, match=r"has 3 \(settings say 5\)"):
        touch_topics(client, [_plan(name, 5)], create=create)


def test_without_a_control_port_topics_are_touched_and_the_real_partitions_reported(embedded_broker: Broker) -> None:
    name = embedded_broker.name("touched")
    assert touch_topics(_client(embedded_broker), [_plan(name, 1)]) == {name: 4}


def test_a_broker_that_does_not_answer_is_unavailable() -> None:
    client = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    with pytest.raises(Unavailable, match="python -m infra status"):
        create_topics(client, [_plan("topic", 1)], timeout_s=0.2)


class _Forgetful:
    """A client that holds on to what it was told before the partition had a leader, as librdkafka's does."""

    def __init__(self) -> None:
        self.was_asked = False

    def list_topics(self, timeout: float) -> None:
        assert timeout > 0
        self.was_asked = True

    def list_offsets(self, partitions: dict[TopicPartition, OffsetSpec], request_timeout: float) -> dict[Any, Any]:
        assert request_timeout > 0
        answer: Future[int] = Future()
        if self.was_asked:
            answer.set_result(0)
        else:
            answer.set_exception(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))
        return dict.fromkeys(partitions, answer)


def test_a_client_that_holds_on_to_a_partition_without_leader_is_made_to_ask_again() -> None:
    client = _Forgetful()
    _await_leaders(client, [TopicPartition("t", 0)], time.monotonic() + 2)  # type: ignore[arg-type] # what it uses of one
    assert client.was_asked
