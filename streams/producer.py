"""The one way records leave a worker: an idempotent producer whose sends are pipelined and whose acks are awaited.

``acks=all``; partitions by murmur2, as aiokafka's own partitioner gives them. A send gives a future; collect the
futures of a batch and await them together, because awaiting each costs a round trip.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from millrace.codec import Record
from millrace.errors import TooLarge, Unavailable
from millrace.keys import partition_for

Ack: TypeAlias = "asyncio.Future[Any]"
_TOO_LARGE = (MessageSizeTooLargeError, RecordTooLargeError)
MAX_REQUEST_BYTES = 9 * 1024 * 1024


class Producer:
    """Sends records; shared by all pumps of a worker.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    linger_ms : int
        How long a batch may wait for company.
    request_timeout_ms : int
        After this long without an acknowledgement a send fails.
    """

    def __init__(self, connection: Mapping[str, Any], *, linger_ms: int = 0, request_timeout_ms: int = 30_000) -> None:
        self._options = {
            **connection,
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": linger_ms,
            "request_timeout_ms": request_timeout_ms,
            "max_request_size": MAX_REQUEST_BYTES,
            "max_batch_size": 256 * 1024,
            "partitioner": _Partitioner(),
        }
        self._client: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect.

        Raises
        ------
        Unavailable
            If no broker answers.
        """
        client = AIOKafkaProducer(**self._options)
        try:
            await client.start()
        except KafkaError as error:
            await client.stop()
            where = self._options["bootstrap_servers"]
            raise Unavailable(f"no broker answers at {where}: {error!r}; see `python -m infra status`") from error
        self._client = client

    async def stop(self) -> None:
        """Send what is pending and disconnect."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.stop()

    async def send(self, record: Record) -> Ack:
        """Put a record into its batch; the future is done when all in-sync replicas have it.

        Raises
        ------
        TooLarge
            If the record is over the client's limit.
        Unavailable
            If the producer is stopped, or its buffer stays full.
        """
        if self._client is None:
            raise Unavailable("the producer is stopped; the record is read again by whoever owns the partition next")
        try:
            ack: Ack = await self._client.send(
                record.topic, record.value, key=record.key, partition=record.partition, headers=record.headers
            )
        except _TOO_LARGE as error:
            raise TooLarge(f"a record for {record.topic} is over {MAX_REQUEST_BYTES} bytes; {error}") from error
        except KafkaError as error:
            raise Unavailable(f"cannot send to {record.topic}: {error!r}") from error
        return ack

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()


class _Partitioner(DefaultPartitioner):  # type: ignore[misc] # aiokafka ships no types
    """The same partitions, with the hashes of recent keys remembered."""

    def __call__(self, key: bytes | None, all_partitions: Sequence[int], available: Sequence[int]) -> int:
        if key is None:
            chosen: int = super().__call__(key, all_partitions, available)
            return chosen
        return all_partitions[partition_for(key, len(all_partitions))]


async def acknowledged(acks: Iterable[Ack]) -> None:
    """Wait until every send is acknowledged.

    Raises
    ------
    TooLarge
        If the broker refused a record for its size.
    Unavailable
        If any send failed otherwise; all have ended by then.
    """
    failed: BaseException | None = None
    for ack in acks:
        try:
            await ack
        except KafkaError as error:
            failed = failed or error
    if isinstance(failed, _TOO_LARGE):
        raise TooLarge(f"the broker refused a record for its size: {failed!r}; raise max.message.bytes") from failed
    if failed is not None:
        raise Unavailable(f"the broker did not acknowledge a record: {failed!r}") from failed
