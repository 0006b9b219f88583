"""On a real Kafka with a real registry: other clients read us, we read others, and who has asked once goes on."""

from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from infra.registry import register
from millrace import Topic
from millrace.client import Millrace
from millrace.codec import headers_of
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ConfigurationError, Unavailable
from millrace.event import Meta
from millrace.events.corpus import SourceChanged
from millrace.reader import read
from millrace.registry import Registry, RegistryAccess, text_of
from millrace.schema import avro_schema
from millrace.topics import CATALOGUE, SOURCE_CHANGED
from tests.brokers import Broker
from tests.registries import StartRegistry, registry_at

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def topic(kafka_broker: Broker) -> Topic:
    """A topic like the one that documents come in, of this test's own."""
    name = kafka_broker.create_topic("documents", 1)
    return msgspec.structs.replace(SOURCE_CHANGED, name=name)


def changed(n: int) -> SourceChanged:
    return SourceChanged(tenant="acme", document=f"d{n}", source="test", version=n, text=f"text {n} äöü")


def stack_of(broker: Broker, registry: Registry) -> Connection:
    return Connection(bootstrap=broker.bootstrap, profile="kafka", registry=registry.access)


def raw_values(broker: Broker, topic: str, n: int) -> list[bytes]:
    """Values of a topic by confluent-kafka's own consumer."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "raw", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        found = [message for message in consumer.consume(n, timeout=20) if message.error() is None]
        return [bytes(message.value() or b"") for message in found]
    finally:
        consumer.close()


async def test_confluent_s_own_deserialiser_reads_what_the_client_writes(
    kafka_broker: Broker, registry: Registry, topic: Topic
) -> None:
    register(registry, [*CATALOGUE.values(), topic], [])
    async with Millrace(stack_of(kafka_broker, registry)) as client:
        for n in range(3):
            await client.produce(changed(n), topic)
    with SchemaRegistryClient({"url": registry.access.url}) as theirs:
        decode = AvroDeserializer(theirs)
        context = SerializationContext(topic.name, MessageField.VALUE)
        found: list[Any] = [decode(value, context) for value in raw_values(kafka_broker, topic.name, 3)]
    assert found == [msgspec.structs.asdict(changed(n)) for n in range(3)]


def test_the_reader_reads_what_confluent_s_own_serialiser_writes(
    kafka_broker: Broker, registry: Registry, topic: Topic
) -> None:
    register(registry, [*CATALOGUE.values(), topic], [])
    event = changed(7)
    meta = Meta(id="1", type=event.type_name(), source="elsewhere", time_us=1, tenant=event.tenant)
    with SchemaRegistryClient({"url": registry.access.url}) as theirs:
        options = {"auto.register.schemas": False}
        encode = AvroSerializer(theirs, text_of(avro_schema(SourceChanged)), conf=options)
        value = encode(msgspec.structs.asdict(event), SerializationContext(topic.name, MessageField.VALUE))
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap})
    producer.produce(topic.name, value, topic.key(event).encode(), headers=[*headers_of(meta)])
    assert producer.flush(20) == 0
    assert list(read(stack_of(kafka_broker, registry), [topic])) == [event]


async def test_without_the_registry_nothing_new_starts_and_what_runs_goes_on(
    kafka_broker: Broker, start_registry: StartRegistry, topic: Topic
) -> None:
    server = start_registry()
    registry = registry_at(server.url)
    register(registry, [*CATALOGUE.values(), topic], [])
    stack = stack_of(kafka_broker, registry)
    codec = codec_of(stack)
    async with Millrace(stack, codec=codec) as client:
        await client.produce(changed(1), topic)
        server.kill()
        await client.produce(changed(2), topic)
        assert list(read(stack, [topic], codec=codec)) == [changed(1), changed(2)]
    with pytest.raises(Unavailable, match=r"schema registry at http://127\.0\.0\.1:\d+.* does not answer"):
        list(read(stack_of(kafka_broker, registry_at(server.url)), [topic]))
    with pytest.raises(Unavailable, match=r"does not answer.*MILLRACE_REGISTRY__URL"):
        async with Millrace(stack_of(kafka_broker, registry_at(server.url))):
            pass


async def test_a_registry_that_was_never_given_the_contract_stops_an_app_at_its_start(
    kafka_broker: Broker, start_registry: StartRegistry
) -> None:
    access = RegistryAccess(url=start_registry().url, timeout_s=20)
    with pytest.raises(ConfigurationError, match="python -m infra register"):
        async with Millrace(stack_of(kafka_broker, Registry(access))):
            pass
