"""What a pump carries through the lanes, and how the outputs of one input reach the broker."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from millrace.codec import Codec, ConsumedRecord
from millrace.errors import InputRejected, MillraceError
from millrace.event import Event, Origin
from millrace.invoke import Output, Progress
from millrace.topics import Topic
from streams.lanes import Item
from streams.ledger import TopicPartition
from streams.producer import Ack, Producer, acknowledged

Note = Callable[[Event], None]


class NotYetVisible(MillraceError):
    """A question asked for a state that is not visible yet, and too many wait already."""

    error_type = "not_yet_visible"
    error_class = "permanent"


class KilledProcess(InputRejected):
    """An input whose processing ended the process, again and again."""

    error_type = "killed_process"


class Lost(Exception):
    """The partition is no longer ours; nothing more may be written for it."""


class Work(msgspec.Struct, eq=False):
    """One input on its way: the payload of a lane item.

    Attributes
    ----------
    record
        The consumed record, kept for its dead letter.
    event
        The decoded event; None if it could not be decoded, for good where there is a verdict.
    attempts
        Failures that count; transient ones do not.
    tries
        All failures; the exponent of the backoff.
    verdict
        Why it was given up, once it was: only its dead letter is left to write.
    suspect
        Whether processes ended while it was at work: it runs alone.
    """

    record: ConsumedRecord
    event: Event | None
    attempts: int = 0
    tries: int = 0
    verdict: BaseException | None = None
    suspect: bool = False
    progress: Progress = msgspec.field(default_factory=Progress)


class Delivery:
    """Sends the outputs of one input; terminal reply frames wait until everything else is acknowledged.

    Parameters
    ----------
    guard : callable
        Awaited before anything is sent; raises `Lost` when the partition is no longer ours.
    note : callable
        ``note(event)`` is told of every event that is acknowledged, before the terminal frames are sent.

    Attributes
    ----------
    n_sent : int
        Events sent.
    incomplete : bool
        Whether something was not acknowledged that only another run can send again: anything but a terminal frame.
    """

    def __init__(
        self, codec: Codec, producer: Producer, guard: Callable[[], Awaitable[None]], note: Note = lambda _: None
    ) -> None:
        self._codec = codec
        self._producer = producer
        self._guard = guard
        self._note = note
        self._acks: list[Ack] = []
        self._sent: list[Event] = []
        self._last: list[Output] = []
        self.n_sent = 0
        self.incomplete = False

    async def emit(self, stage: str, outputs: Sequence[Output]) -> None:  # noqa: ARG002 - the signature of Emit
        """Send outputs now, without waiting for their acknowledgement.

        Raises
        ------
        InvalidEvent
            If an output does not fit its schema.
        Lost
            If the partition is no longer ours.
        Unavailable
            If the producer cannot take it.
        """
        await self._guard()
        for output in outputs:
            if output.last:
                self._last.append(output)
            else:
                await self._send(output)

    async def settle(self) -> None:
        """Wait until all is acknowledged, then send the terminal frames and wait for those.

        Raises
        ------
        Unavailable
            If the broker did not acknowledge something.
        """
        await self.acknowledge()
        if self._last:
            await self._guard()
            last, self._last = self._last, []
            for output in last:
                await self._send(output)
            await self._acknowledged()

    async def acknowledge(self) -> None:
        """Wait for what was sent so far.

        Raises
        ------
        Unavailable
            If the broker did not acknowledge something.
        """
        try:
            await self._acknowledged()
        except Exception:
            self.incomplete = True
            raise

    async def _acknowledged(self) -> None:
        acks, self._acks = self._acks, []
        sent, self._sent = self._sent, []
        await acknowledged(acks)
        for event in sent:
            self._note(event)

    async def _send(self, output: Output) -> None:
        self._acks.append(await self._producer.send(self._codec.record(output.topic, output.event)))
        self._sent.append(output.event)
        self.n_sent += 1


def reader(codec: Codec, topics: Iterable[Topic]) -> Callable[[ConsumedRecord], Event]:
    """What decodes a record of these topics, or says why it cannot: see `Codec.read`."""
    by_name = {topic.name: topic for topic in topics}

    def read(record: ConsumedRecord) -> Event:
        origin = Origin(record.topic, record.partition, record.offset)
        return codec.read(by_name[record.topic], record.key, record.value, record.headers, origin)

    return read


def item_of(
    tp: TopicPartition, epoch: int, record: ConsumedRecord, event: Event | None, verdict: BaseException | None
) -> Item:
    """Lane item of a record; one that can never be decoded needs no order and gets a lane of its own."""
    size = len(record.value or b"") + len(record.key or b"")
    key = record.key if event is not None or verdict is None else None
    work = Work(record, event, verdict=verdict, progress=Progress(received_s=time.monotonic()))
    return Item(key, size, work, tp, record.offset, epoch)
