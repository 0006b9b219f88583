"""Events, topics and helpers for tests of the pump: everything under names of one test's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from millrace import keys
from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.event import Event, Meta, attach
from millrace.topics import Topic
from streams.producer import Producer, acknowledged
from streams.pump import Pump, PumpSettings
from tests.brokers import Broker


class Ordered(Event, frozen=True, kw_only=True):
    """A numbered event of a key."""

    namespace: ClassVar[str] = "test.pump"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Key."]
    n: Annotated[int, "Number within the key."]


class Handled(Event, frozen=True, kw_only=True):
    """What the agents under test emit."""

    namespace: ClassVar[str] = "test.pump"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Key."]
    n: Annotated[int, "Number within the key."]
    by: Annotated[str, "Who handled it."] = ""


class Frame(Event, frozen=True, kw_only=True):
    """A reply."""

    namespace: ClassVar[str] = "test.pump"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Key."]
    n: Annotated[int, "Number."] = 0
    terminal: Annotated[bool, "Whether it ends the exchange."] = True
    error_type: Annotated[str, "Why it failed."] = ""

    def slot(self) -> str:
        return str(self.n)


def key_of(event: Any) -> str:
    return keys.key(event.tenant, "x", event.lane)


def ordered(lane: str, n: int, *, tenant: str = "acme", **meta: Any) -> Ordered:
    event = Ordered(tenant=tenant, lane=lane, n=n)
    fields: dict[str, Any] = {"correlation_id": f"c-{lane}-{n}", **meta}
    return attach(
        event,
        Meta(
            id=f"{lane}-{n}",
            type=Ordered.type_name(),
            source="test",
            time_us=1_700_000_000_000_000,
            tenant=tenant,
            **fields,
        ),
    )


def handled(event: Ordered, by: str = "") -> Handled:
    return Handled(tenant=event.tenant, lane=event.lane, n=event.n, by=by)


FAST = PumpSettings(
    commit_interval_ms=50, retry_initial_ms=10, retry_max_ms=100, session_timeout_ms=6000, heartbeat_interval_ms=500
)


class World:
    """One test's topics on a broker, and clients for them."""

    def __init__(self, broker: Broker, producer: Producer, n_partitions: int) -> None:
        self.broker = broker
        self.connection: dict[str, Any] = {"bootstrap_servers": broker.bootstrap}
        self.producer = producer
        self.n_partitions = n_partitions
        with ThreadPoolExecutor(8) as pool:  # a broker creates several at once in the time of one
            source, middle, sink, reply = pool.map(self._create, ("source", "middle", "sink", "reply"))
        self.source = Topic(name=source, events=(Ordered,), key=key_of)
        self.middle = Topic(name=middle, events=(Handled,), key=key_of)
        self.sink = Topic(name=sink, events=(Handled,), key=key_of)
        self.reply = Topic(name=reply, events=(Frame,), key=key_of, reply=True)
        self.codec = Codec([Ordered, Handled, Frame])

    def _create(self, name: str) -> str:
        unique = self.broker.create_topic(name, self.n_partitions)
        self.broker._create(f"{unique}.dlq", self.n_partitions, {})
        return unique

    def spec(self, function: Callable[..., Any], **options: Any) -> AgentSpec:
        """Spec of an agent from `source` to `sink`; kept out of the process-wide catalogue."""
        wants_ports = function.__code__.co_argcount == 2
        fields: dict[str, Any] = {
            "name": function.__name__, "function": function, "sources": (self.source,), "sinks": (self.sink,),
            "form": "batch" if options.get("batch") else "single", "wants_ports": wants_ports, **options,
        }  # fmt: skip
        return AgentSpec(**fields)

    def settings(self, **changes: Any) -> PumpSettings:
        fixed = {
            "group_prefix": self.broker.name("g."),
            "fetch_max_wait_ms": self.broker.fetch_max_wait_ms,
            "leader_delay_ms": 100 if self.broker.kind == "embedded" else 0,
        }
        return msgspec.structs.replace(FAST, **{**fixed, **changes})

    def pump(
        self,
        spec: AgentSpec,
        *,
        ports: Any = None,
        prepare: Any = None,
        producer: Any = None,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[Event], None] = lambda _: None,
        **changes: Any,
    ) -> Pump:
        return Pump(
            spec, codec=self.codec, producer=producer or self.producer, connection=self.connection,
            settings=self.settings(**changes), ports=ports, prepare=prepare, clock=clock, note=note,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self, spec: AgentSpec, **options: Any) -> AsyncIterator[Pump]:
        pump = self.pump(spec, **options)
        await pump.start()
        try:
            await asyncio.wait_for(pump.ready.wait(), 20)
            yield pump
        finally:
            await pump.stop()

    async def produce(self, events: Iterable[Event], topic: Topic | None = None) -> None:
        await acknowledged([await self.producer.send(self.codec.record(topic or self.source, each)) for each in events])

    async def read(
        self, topic: str, until: Callable[[list[ConsumerRecord]], bool], timeout_s: float = 20
    ) -> list[ConsumerRecord]:
        """Read a topic from its start until a condition holds."""
        consumer = AIOKafkaConsumer(**self.connection, fetch_max_wait_ms=self.broker.fetch_max_wait_ms)
        try:
            await consumer.start()
            partitions = [TopicPartition(topic, i) for i in range(self.n_partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            found: list[ConsumerRecord] = []
            ends = time.monotonic() + timeout_s
            while not until(found):
                if time.monotonic() > ends:
                    raise TimeoutError(f"{topic} has {len(found)} records, the condition does not hold")
                for records in (await consumer.getmany(timeout_ms=50)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def read_n(self, topic: Topic | str, n: int, timeout_s: float = 20) -> list[ConsumerRecord]:
        """Read a topic until it has `n` records."""
        name = topic if isinstance(topic, str) else topic.name
        return await self.read(name, lambda found: len(found) >= n, timeout_s)

    def decode(self, records: Iterable[ConsumerRecord]) -> list[Any]:
        return [self.codec.decode(record.value) for record in records]

    async def committed(self, pump: Pump) -> Mapping[TopicPartition, OffsetAndMetadata]:
        partitions = [TopicPartition(self.source.name, i) for i in range(self.n_partitions)]
        found: Mapping[TopicPartition, OffsetAndMetadata] = (
            await pump._tenure.consumer._coordinator.fetch_committed_offsets(partitions)  # type: ignore[union-attr]
        )
        return found


@asynccontextmanager
async def world_on(broker: Broker, n_partitions: int = 2) -> AsyncIterator[World]:
    async with Producer({"bootstrap_servers": broker.bootstrap}) as producer:
        yield World(broker, producer, n_partitions)
