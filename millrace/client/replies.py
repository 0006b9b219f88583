"""Read the replies of all pending questions of one asker from its reply partition."""

import asyncio
import contextlib
from collections import deque
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from millrace.client.closing import close_consumer
from millrace.client.decoding import decoded
from millrace.client.frames import Frame, FrameOrder
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import ContractError, LogTruncated, RequestFailed, Unavailable
from millrace.topics import REPLY

_REMEMBERED: Final = 4096


class Pending:
    """One question that waits for its reply.

    Attributes
    ----------
    correlation : str
        Correlation id.
    tenant : str
        Whose question it is; frames of another tenant are dropped.
    expires_at : float
        Event loop time at which the asker resolves by itself.
    """

    def __init__(self, correlation: str, tenant: str, expires_at: float) -> None:
        self.correlation = correlation
        self.tenant = tenant
        self.expires_at = expires_at
        self.order = FrameOrder()
        self._frames: asyncio.Queue[Frame | Exception] = asyncio.Queue()

    def put(self, item: Frame | Exception) -> None:
        """Hand over a frame in order, or what ended the reading."""
        self._frames.put_nowait(item)

    async def next(self) -> Frame:
        """Next frame in order.

        Raises
        ------
        TimeoutError
            At `expires_at`.
        LogTruncated, Unavailable
            If the replies cannot be read any more.
        """
        async with asyncio.timeout_at(self.expires_at):
            item = await self._frames.get()
        if isinstance(item, Exception):
            raise item
        return item


class ReplyReader:
    """Reads one partition of the reply topic, by assignment, and hands frames to pending questions.

    The position is the end offset fixed in `start`, which returns before any question is sent; replies therefore
    always come later. Frames of other askers on the same partition are passed over without being decoded.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    codec : Codec
        Decodes frames.
    partition : int
        Reply partition of this asker.
    max_pending : int
        Questions that may wait at the same time.
    timeout_s : float
        How long the broker may take to answer at the start, in seconds.

    Attributes
    ----------
    position : int
        Offset of the next record; replies to what is sent from now on come at or behind it.
    """

    def __init__(
        self, connection: Connection, codec: Codec, partition: int, *, max_pending: int, timeout_s: float
    ) -> None:
        self._connection = connection
        self._codec = codec
        self.partition = partition
        self._place = TopicPartition(REPLY.name, partition)
        self._max_pending = max_pending
        self._timeout_s = timeout_s
        self._pending: dict[str, Pending] = {}
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)
        self._ended_set: set[str] = set()
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        self.n_late = 0
        self.position = 0

    @property
    def alive(self) -> bool:
        """Whether replies are being read."""
        return self._task is not None and not self._task.done()

    @property
    def n_pending(self) -> int:
        """Questions that wait."""
        return len(self._pending)

    async def start(self) -> None:
        """Fix the position and begin to read.

        Raises
        ------
        Unavailable
            If the broker does not answer in time.
        """
        consumer = AIOKafkaConsumer(**self._connection.aiokafka_reader())
        try:
            async with asyncio.timeout(self._timeout_s):
                await consumer.start()
                consumer.assign([self._place])
                end = (await consumer.end_offsets([self._place]))[self._place]
                consumer.seek(self._place, end)
                self.position = end
        except asyncio.CancelledError:
            await close_consumer(consumer)
            raise
        except (KafkaError, TimeoutError, OSError) as error:
            await close_consumer(consumer)
            raise Unavailable(
                f"the reply topic {REPLY.name} at {self._connection.bootstrap} cannot be read "
                f"({str(error) or type(error).__name__}); is the broker running? see `millrace doctor`"
            ) from error
        self._consumer = consumer
        self._task = asyncio.create_task(self._read(), name="millrace-replies")

    async def stop(self) -> None:
        """Stop reading; questions that still wait end with RequestFailed ``client_closed``."""
        self._fail(RequestFailed("client_closed", "the client was closed before the answer came; ask again"))
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._consumer is not None:
            await close_consumer(self._consumer)

    def open(self, correlation: str, tenant: str, expires_at: float) -> Pending:
        """Enter a question into the table of pending ones.

        Raises
        ------
        RequestFailed
            ``too_many_pending`` if the table is full.
        """
        if len(self._pending) >= self._max_pending:
            raise RequestFailed(
                "too_many_pending",
                f"{len(self._pending)} questions of this client are pending, at most {self._max_pending} may be; "
                "wait for answers, or raise max_pending",
                retry_after_ms=1000,
            )
        pending = Pending(correlation, tenant, expires_at)
        self._pending[correlation] = pending
        return pending

    def close(self, pending: Pending) -> None:
        """Free a question's place; frames that still come are late."""
        if self._pending.pop(pending.correlation, None) is None:
            return
        if len(self._ended) == self._ended.maxlen:
            self._ended_set.discard(self._ended[0])
        self._ended.append(pending.correlation)
        self._ended_set.add(pending.correlation)

    async def _read(self) -> None:
        try:
            while True:
                found = await self._consumer.getmany(timeout_ms=1000)
                for record in found.get(self._place, ()):
                    self.position = record.offset + 1
                    await self._deliver(record)
        except OffsetOutOfRangeError:
            self._fail(
                LogTruncated(
                    f"the read position of {self._place.topic}/{self._place.partition} is no longer in the log: the "
                    "broker was restarted without its data, or replies were dropped unread; ask again"
                )
            )
        except KafkaError as error:
            self._fail(Unavailable(f"replies cannot be read from {self._connection.bootstrap}: {error}; ask again"))

    async def _deliver(self, record: Any) -> None:
        correlation = next((v.decode("utf-8", "replace") for k, v in record.headers if k == "ce_correlationid"), "")
        pending = self._pending.get(correlation)
        if pending is None:
            self.n_late += correlation in self._ended_set
            return
        try:
            frame: Any = await decoded(self._codec, REPLY, record)
        except ContractError:
            return
        except Unavailable as error:
            pending.put(error)
            return
        if frame.correlation != correlation or frame.tenant != pending.tenant:
            return
        for due in pending.order.accept(frame):
            pending.put(due)

    def _fail(self, error: Exception) -> None:
        for pending in self._pending.values():
            pending.put(error)
