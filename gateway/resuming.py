"""Read the rest of a reply from the log, from where its caller stands: any replica can.

Several streams that come back at the same moment, as they do when a replica has gone, share one reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from gateway.event_ids import Place
from millrace.client.closing import close_consumer
from millrace.client.decoding import decoded
from millrace.client.frames import Frame, FrameOrder
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import ContractError, LogTruncated, Unavailable
from millrace.topics import REPLY

log = logging.getLogger(__name__)

_GATHER_S: Final = 0.05
_AGAIN_S: Final = 0.2


class Replies(Protocol):
    """Where the rest of a reply is read."""

    def rest(self, tenant: str, place: Place) -> AsyncGenerator[Frame, None]:
        """Frames behind a place, the terminal one last; waits for those that are still to come."""


class _Stream:
    """One reply that is read on."""

    def __init__(self, tenant: str, place: Place) -> None:
        self.tenant = tenant
        self.place = place
        self.order = FrameOrder(place.attempt, place.n + 1)
        self.queue: asyncio.Queue[Frame | Exception] = asyncio.Queue()

    def take(self, frame: Any) -> None:
        if frame.tenant == self.tenant and frame.correlation == self.place.correlation:
            for due in self.order.accept(frame):
                self.queue.put_nowait(due)


class LogReplies:
    """Reads replies again.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    codec : Codec
        Decodes frames.
    timeout_s : float
        How long the broker may take to answer, in seconds.
    """

    def __init__(self, connection: Connection, codec: Codec, timeout_s: float) -> None:
        self._connection = connection
        self._codec = codec
        self._timeout_s = timeout_s
        self._gathering: dict[int, _Reader] = {}

    async def rest(self, tenant: str, place: Place) -> AsyncGenerator[Frame, None]:
        """Frames behind a place; see `Replies`.

        While the broker does not answer it is asked again: whoever waits has a deadline.

        Raises
        ------
        LogTruncated
            The log no longer has them.
        """
        stream = _Stream(tenant, place)
        reader = self._gathering.get(place.partition)
        if reader is None:
            reader = _Reader(self._connection, self._codec, place.partition, self._timeout_s, self._gathered)
            self._gathering[place.partition] = reader
            reader.start()
        reader.streams.setdefault(place.correlation, set()).add(stream)
        try:
            while True:
                item = await stream.queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if item.terminal:
                    return
        finally:
            reader.leave(stream)

    def _gathered(self, reader: _Reader) -> None:
        """Let no stream join a reader any more; another one may gather in its place by now."""
        if self._gathering.get(reader.partition) is reader:
            del self._gathering[reader.partition]


class _Reader:
    """Reads one partition for all streams that came while it gathered; ends with the last of them."""

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        partition: int,
        timeout_s: float,
        gathered: Callable[[_Reader], None],
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._place = TopicPartition(REPLY.name, partition)
        self._timeout_s = timeout_s
        self._gathered = gathered
        self._task: asyncio.Task[None] | None = None
        self.partition = partition
        self.streams: dict[str, set[_Stream]] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="millrace-gateway-resume")

    def leave(self, stream: _Stream) -> None:
        """Take a stream out; the last one ends the reader, which nobody joins from then on."""
        others = self.streams.get(stream.place.correlation, set())
        others.discard(stream)
        if not others:
            self.streams.pop(stream.place.correlation, None)
        if not self.streams and self._task is not None:
            self._gathered(self)
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await asyncio.sleep(_GATHER_S)
        finally:
            self._gathered(self)
        while self.streams:
            try:
                await self._read()
            except OffsetOutOfRangeError:
                self._fail(LogTruncated("this reply is no longer on the log; ask again"))
                return
            except (KafkaError, TimeoutError, OSError, Unavailable) as error:
                log.info("replies are read again: %s", type(error).__name__)
                await asyncio.sleep(_AGAIN_S)

    async def _read(self) -> None:
        async with self._consumer() as consumer:
            while True:
                found = await consumer.getmany(timeout_ms=1000)
                for record in found.get(self._place, ()):
                    await self._deliver(record)

    @asynccontextmanager
    async def _consumer(self) -> AsyncGenerator[Any, None]:
        start = min(stream.place.offset for streams in self.streams.values() for stream in streams)
        consumer = AIOKafkaConsumer(**self._connection.aiokafka_reader())
        try:
            async with asyncio.timeout(self._timeout_s):
                await consumer.start()
                consumer.assign([self._place])
                consumer.seek(self._place, start)
            yield consumer
        finally:
            await close_consumer(consumer)

    async def _deliver(self, record: Any) -> None:
        correlation = next((v.decode("utf-8", "replace") for k, v in record.headers if k == "ce_correlationid"), "")
        streams = self.streams.get(correlation)
        if not streams:
            return
        try:
            frame: Any = await decoded(self._codec, REPLY, record)
        except ContractError:
            return
        for stream in tuple(streams):
            if record.offset >= stream.place.offset:
                stream.take(frame)

    def _fail(self, error: Exception) -> None:
        for streams in self.streams.values():
            for stream in streams:
                stream.queue.put_nowait(error)
