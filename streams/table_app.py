"""The Faust app of a table agent: one that commits what was applied, and reaches every broker that the pumps reach.

Each table agent has an app and a consumer group of its own. Members of one group would have to run the same table
agents, though workers run whichever they are told to; and what is committed of a topic would have to wait for all of
the agents that read it.

Faust's consumer thread, consumer and table are derived here, by their own seams; nothing of Faust is patched.
"""

from collections.abc import Mapping
from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from millrace.errors import ConfigurationError
from streams.pump.membership import wait_for_followers
from streams.pump.settings import PumpSettings
from streams.table_acks import Applied

_FETCH_MS: Final = 100
"""How long a broker may hold a fetch that finds nothing, at least: nobody waits for a table, and there may be many."""


def table_app(agent: str, connection: Mapping[str, Any], settings: PumpSettings, *, data: str) -> Any:
    """Faust app that never creates a topic, elects no leader and opens no port.

    Parameters
    ----------
    agent : str
        Name of the agent.
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    data : str
        Folder in which Faust makes folders of its own; nothing is kept there while stores are in memory.

    Returns
    -------
    faust.App
        With an attribute ``applied``, see `streams.table_acks`.

    Raises
    ------
    ConfigurationError
        If Faust has no such way to prove who it is.
    """
    brokers = ";".join(f"kafka://{host.strip()}" for host in str(connection["bootstrap_servers"]).split(","))
    applied = Applied()
    app: Any = faust.App(
        table_group(settings, agent),
        broker=brokers,
        broker_credentials=credentials(connection),
        datadir=data,
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        Event=applied.event_class(),
        Table=AwaitedTable,
        producer_acks=-1,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.heartbeat_interval_ms / 1000,
        broker_commit_interval=settings.commit_interval_ms / 1000,
        stream_ack_cancelled_tasks=False,
        stream_ack_exceptions=False,
        stream_wait_empty=False,
    )
    app.applied = applied
    app.pump_settings = settings
    app.transport = _Transport(app.conf.broker_consumer, app)
    return app


def table_group(settings: PumpSettings, agent: str) -> str:
    """Consumer group of a table agent, of all workers that run it."""
    return f"{settings.group_prefix}tables-{agent}"


def credentials(connection: Mapping[str, Any]) -> Credentials | None:
    """Security options of an aiokafka client in Faust's form; None for a broker without.

    Raises
    ------
    ConfigurationError
        If Faust has no such way to prove who it is.
    """
    protocol = connection.get("security_protocol", "PLAINTEXT")
    context = connection.get("ssl_context")
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return SSLCredentials(context)
    mechanism = connection.get("sasl_mechanism", "PLAIN")
    if mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise ConfigurationError(
            f"table agents cannot reach a broker by {protocol} with {mechanism}; allowed are PLAIN, SCRAM-SHA-256 and "
            "SCRAM-SHA-512"
        )
    return SASLCredentials(
        username=connection.get("sasl_plain_username"),
        password=connection.get("sasl_plain_password"),
        ssl_context=context,
        mechanism=mechanism,
    )


class AwaitedTable(faust.Table[bytes, bytes]):
    """A table whose last change can be awaited: Faust's own flush gives up after 0.1 s without saying so.

    Attributes
    ----------
    written : awaitable
        Done when the changelog has the last change.
    """

    written: Any = None

    def _changelog_topic_name(self) -> str:
        return f"{self.app.conf.id}-changelog"

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        """Send a change, and keep its future."""
        self.written = super().send_changelog(*args, **kwargs)
        return self.written

    def forget(self, key: bytes) -> None:
        """Take a key out, and say so in the changelog; as often as it takes until that has it."""
        self.on_key_del(key)
        self.data.pop(key, None)


class _Thread(AIOKafkaConsumerThread):
    """Faust's client, with our wait for a fetch, our delay for a leader, and a note of where the log has gaps."""

    app: Any

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        client = super()._create_worker_consumer(transport)
        wait_ms = max(self.app.pump_settings.fetch_max_wait_ms, _FETCH_MS)
        client._fetch_max_wait_ms = wait_ms  # noqa: SLF001 - Faust fixes it at 1.5 s
        return client

    async def on_start(self) -> None:
        """Connect."""
        await super().on_start()
        if delay_ms := self.app.pump_settings.leader_delay_ms:
            wait_for_followers(self._consumer, delay_ms / 1000)

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        subscription: Any = consumer._subscription.subscription  # noqa: SLF001 - the public position waits
        assignment = subscription.assignment if subscription is not None else None
        states = {tp: assignment.state_value(tp) for tp in assignment.tps} if assignment is not None else {}
        before = {tp: state.position for tp, state in states.items() if state.has_valid_position}
        found: Mapping[Any, list[ConsumerRecord]] = await super()._fetch_records(
            consumer, active_partitions, timeout=timeout, max_records=max_records
        )
        for tp, records in found.items():
            self.app.applied.fetched(TP(*tp), before.get(tp), [record.offset for record in records])
        return found


class _NoOffsets(dict[TP, int | None]):
    """Last read offsets that are never known, so that Faust drops nothing that is read again."""

    def __getitem__(self, tp: TP) -> None:
        return None


class _Consumer(Consumer):
    """Faust's consumer, with what was applied in place of its own bookkeeping."""

    app: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoOffsets()

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        self.app.applied.consumer = self
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_stop(self) -> None:
        """End what is under way, then the rest."""
        await self.app.applied.stop()
        await super().on_stop()

    async def seek_to_committed(self) -> Any:
        """Seek, and note where that is.

        The client seeks where something was committed, and nowhere else; but the partitions flow already, and what was
        fetched meanwhile would not come again.
        """
        self.app.applied.forget(self.assignment())  # what comes before the answer is asked for again
        found: Mapping[TP, int | None] = await super().seek_to_committed()
        unsought = [tp for tp, offset in found.items() if offset is None or offset <= 0]
        first: Mapping[TP, int] = await self.earliest_offsets(*unsought) if unsought else {}
        changelogs, assigned = self.app.tables.changelog_topics, self.assignment()
        again = {tp: offset for tp, offset in first.items() if tp in assigned and tp.topic not in changelogs}
        if again:
            await self.seek_wait(again)
        self.app.applied.start({tp: first.get(tp, offset) for tp, offset in found.items()})
        return found

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Give partitions up."""
        await super().on_partitions_revoked(revoked)
        self.app.applied.forget(revoked)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        done: bool = await super()._commit(offsets)
        if done:
            self.app.applied.committed(offsets)
        return done

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        prefix: int | None = self.app.applied.prefix(tp)
        return prefix

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Believe no gap: records that were dropped look like one."""


class _Transport(Transport):
    Consumer = _Consumer


__all__ = ["AwaitedTable", "credentials", "table_app", "table_group"]
