"""Where benchmarks run: one real Kafka node, fresh topics, and contenders in processes of their own."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from bench.contenders.job import Job
from bench.measure import Contender, Sample
from infra.servers.java import find_java
from infra.servers.kafka import KafkaServer, install_kafka
from infra.settings import load, process_environment
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import Unavailable
from millrace.event import Event
from millrace.topics import Topic
from streams.admin import TopicPlan, create_topics, plan_topics

Profile = Literal["kafka", "native"]
_CONTENDER_LIMIT_S = 180


class Lab:
    """What a benchmark is given.

    Parameters
    ----------
    bootstrap : str
        Address of the broker; empty where none runs.
    folder : Path
        For files of the run; removed with it.
    repetitions : int
        How often contenders take turns.
    quick : bool
        Whether sizes are tiny, to see that everything runs; the numbers mean nothing then.
    profile : {"kafka", "native"}
        Where the stack keeps its vectors, runs its models and registers its schemas.
    broker : KafkaServer, optional
        The node itself, for those who want to restart it.
    """

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        *,
        repetitions: int,
        quick: bool,
        profile: Profile = "kafka",
        broker: KafkaServer | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.repetitions = repetitions
        self.quick = quick
        self.profile = profile
        self.broker = broker

    def size(self, full: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else full

    def fresh(self, name: str) -> str:
        """A name that was not used before."""
        return f"{name}.{secrets.token_hex(4)}"

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        path = self.folder / self.fresh(name)
        path.mkdir(parents=True)
        return path

    def create_topic(self, name: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Create a topic and its dead letter topic under a fresh name, and return that name."""
        unique = self.fresh(name)
        plans = [TopicPlan(unique, partitions, config or {}), TopicPlan(f"{unique}.dlq", partitions, {})]
        create_topics(self._admin(), plans)
        return unique

    def create_catalogue(self, topics: Iterable[Topic]) -> None:
        """Create topics of a catalogue under their own names; existing ones are kept."""
        create_topics(self._admin(), plan_topics(topics, {}))

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def fill(self, topic: Topic, events: Iterable[Event], codec: Codec) -> None:
        """Write events to a topic and wait until all are acknowledged.

        Raises
        ------
        Unavailable
            If the broker did not acknowledge all of them.
        """
        producer = Producer(
            Connection(bootstrap=self.bootstrap).librdkafka_producer() | {"linger.ms": 20, "log_level": 0}
        )
        for event in events:
            record = codec.record(topic, event)
            while True:
                try:
                    producer.produce(record.topic, record.value, key=record.key, headers=list(record.headers))
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        if left := producer.flush(60):
            raise Unavailable(f"{left} records for {topic.name} were not acknowledged within 60 s; is the broker well?")

    def contender(self, name: str, job: Job) -> Contender:
        """A contender that runs in a process of its own, pinned to one core."""

        async def run() -> Sample:
            text = msgspec.json.encode(msgspec.structs.replace(job, group=self.fresh("bench"))).decode()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.contenders", name, text,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=process_environment(),
                cwd=Path(__file__).parent.parent,
            )  # fmt: skip
            try:
                async with asyncio.timeout(_CONTENDER_LIMIT_S):
                    out, err = await process.communicate()
            except TimeoutError:
                process.kill()
                out, err = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            if process.returncode != 0 or not out:
                ends = err.decode(errors="replace")[-2000:]
                raise Unavailable(f"contender {name!r} ended with status {process.returncode}:\n{ends}")
            return msgspec.json.decode(out.splitlines()[-1], type=Sample)

        return run


@asynccontextmanager
async def open_lab(
    *, repetitions: int, quick: bool, broker: bool = True, profile: Profile = "kafka"
) -> AsyncIterator[Lab]:
    """Start a Kafka node, unless none is wanted, and end it afterwards.

    Raises
    ------
    ConfigurationError
        If Java or Maven is missing.
    Unavailable
        If the node does not start.
    """
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        if not broker:
            yield Lab("", folder, repetitions=repetitions, quick=quick, profile=profile)
            return
        settings = load().settings
        java = find_java(settings.kafka.java)
        jars = install_kafka(settings.cache, settings.kafka.maven, lambda line: print(line, file=sys.stderr))
        server = KafkaServer(folder / "kafka", jars=jars, java=java, environment=process_environment())
        await asyncio.to_thread(server.start)
        try:
            yield Lab(server.bootstrap, folder, repetitions=repetitions, quick=quick, profile=profile, broker=server)
        finally:
            await asyncio.to_thread(server.stop)


def last_core() -> int:
    """The core that contenders are pinned to; the broker is left to the others where there are several."""
    return max(os.sched_getaffinity(0))
