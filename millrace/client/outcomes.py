"""Wait for what became of produced changes, by folding the outcome topics."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from millrace import keys
from millrace.client.closing import close_consumer
from millrace.client.decoding import decoded
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import ContractError, LogTruncated, Unavailable
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled
from millrace.events.query import Receipt
from millrace.topics import ACL_CHANGED, CATALOGUE, DOCUMENT_INDEXED, DOCUMENT_SETTLED

_REGISTRY_AGAIN_S = 0.5
OUTCOME_TOPICS = (DOCUMENT_INDEXED, DOCUMENT_SETTLED, ACL_CHANGED)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one change ended.

    Attributes
    ----------
    receipt : Receipt
        The change.
    outcome : str
        ``indexed``, ``deleted``, ``unchanged``, ``superseded``, ``rejected``, ``failed``, or ``access`` for a receipt
        of access alone.
    version : int
        Version whose outcome it is: the receipt's, or a later one that was seen first.
    reason, message : str
        Why, for outcomes that changed nothing.
    n_chunks, n_embedded, n_reused : int
        Chunks of an indexed version, those embedded for it and those kept.
    """

    receipt: Receipt
    outcome: str
    version: int = 0
    reason: str = ""
    message: str = ""
    n_chunks: int = 0
    n_embedded: int = 0
    n_reused: int = 0

    @property
    def good(self) -> bool:
        """Whether the change took effect or was not needed."""
        return self.outcome not in {"rejected", "failed"}


class Watched:
    """A receipt that waits for its outcome; `future` gives it.

    Parameters
    ----------
    receipt : Receipt
        The change.
    access_known : bool
        Whether the log held its access before it was sent: then no record of it is to come.
    """

    def __init__(self, receipt: Receipt, *, access_known: bool = False) -> None:
        self.receipt = receipt
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._content: Outcome | None = None
        self._access = access_known or receipt.acl_version == 0

    def see(self, event: Event) -> bool:
        """Take an event of the document; True when the outcome is known now."""
        receipt = self.receipt
        if isinstance(event, AclChanged):
            self._access = self._access or event.version >= receipt.acl_version
        elif isinstance(event, DocumentIndexed | DocumentSettled):
            order = (event.source_epoch, event.version)
            if self._content is None and receipt.version and order >= (receipt.source_epoch, receipt.version):
                self._content = outcome_from(receipt, event)
        if self.future.done() or not self._access or (receipt.version and self._content is None):
            return False
        self.future.set_result(self._content or Outcome(receipt=receipt, outcome="access"))
        return True


class OutcomeReader:
    """Folds outcome topics from fixed positions, by assignment, for the documents that are watched.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    codec : Codec
        Decodes outcomes; only those of watched documents are decoded.
    positions : mapping of TopicPartition to int
        Where to start.
    timeout_s : float
        How long the broker may take to answer at the start, in seconds.

    Attributes
    ----------
    error : Exception or None
        Why reading ended, if it did.
    """

    def __init__(
        self, connection: Connection, codec: Codec, positions: Mapping[TopicPartition, int], timeout_s: float
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._positions = dict(positions)
        self._timeout_s = timeout_s
        self._watched: dict[bytes, list[Watched]] = {}
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        self.error: Exception | None = None

    def watch(self, watched: Watched) -> None:
        """Look for an outcome from now on; outcomes already passed by are not seen again."""
        key = keys.document_key(watched.receipt.tenant, watched.receipt.document).encode()
        self._watched.setdefault(key, []).append(watched)
        if self.error is not None:
            _refuse(watched, self.error)

    def forget(self, watched: Watched) -> None:
        """Stop watching."""
        key = keys.document_key(watched.receipt.tenant, watched.receipt.document).encode()
        with contextlib.suppress(KeyError, ValueError):
            self._watched[key].remove(watched)
            if not self._watched[key]:
                del self._watched[key]

    async def start(self) -> None:
        """Begin to read.

        Raises
        ------
        Unavailable
            If the broker does not answer.
        """
        if self._task is not None:
            return
        consumer = _consumer(self._connection)
        try:
            async with asyncio.timeout(self._timeout_s):
                await consumer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await close_consumer(consumer)
            raise _unavailable(self._connection, error) from error
        except BaseException:  # whoever waited has given up
            await close_consumer(consumer)
            raise
        consumer.assign(list(self._positions))
        for place, offset in self._positions.items():
            consumer.seek(place, offset)
        self._consumer = consumer
        self._task = asyncio.create_task(self._read(), name="millrace-outcomes")

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._consumer is not None:
            await close_consumer(self._consumer)

    async def _read(self) -> None:
        try:
            while True:
                for records in (await self._consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        await self._take(record)
        except OffsetOutOfRangeError as error:
            self._fail(
                LogTruncated(f"outcomes were dropped from the log before they were read ({error}); see `docs show`")
            )
        except KafkaError as error:
            self._fail(_unavailable(self._connection, error))

    async def _take(self, record: Any) -> None:
        if record.key not in self._watched:
            return
        try:
            event = await self._decoded(record)
        except ContractError:
            return  # somebody else's broken record is no outcome of ours
        for watched in list(self._watched.get(record.key, ())):
            if watched.see(event):
                self.forget(watched)

    async def _decoded(self, record: Any) -> Event:
        """Event of a record; a registry that is away is waited for, as what is watched here comes only once."""
        while True:
            try:
                return await decoded(self._codec, CATALOGUE[record.topic], record)
            except Unavailable:
                await asyncio.sleep(_REGISTRY_AGAIN_S)

    def _fail(self, error: Exception) -> None:
        self.error = error
        for waiting in self._watched.values():
            for watched in waiting:
                _refuse(watched, error)


async def outcome_positions(
    connection: Connection, *, end: bool, timeout_s: float, receipts: Iterable[Receipt] = ()
) -> dict[TopicPartition, int]:
    """First or end offsets of the outcome topics, for all partitions or for those of some receipts.

    Raises
    ------
    Unavailable
        If the broker does not answer.
    """
    named = [keys.document_key(receipt.tenant, receipt.document) for receipt in receipts]
    consumer = _consumer(connection)
    try:
        async with asyncio.timeout(timeout_s):
            await consumer.start()
            places = []
            for topic in OUTCOME_TOPICS:
                await consumer._client.add_topic(topic.name)  # noqa: SLF001 - the only way to wait for its metadata
                n = len(consumer.partitions_for_topic(topic.name) or ())
                wanted = {keys.partition_for(key, n) for key in named} if named and n else range(n)
                places += [TopicPartition(topic.name, p) for p in sorted(wanted)]
            found: dict[TopicPartition, int] = await (
                consumer.end_offsets(places) if end else consumer.beginning_offsets(places)
            )
            return found
    except (KafkaError, TimeoutError, OSError) as error:
        raise _unavailable(connection, error) from error
    finally:
        await close_consumer(consumer)


def _consumer(connection: Connection) -> Any:
    return AIOKafkaConsumer(**connection.aiokafka_reader(), max_partition_fetch_bytes=DOCUMENT_INDEXED.max_bytes)


def outcome_from(receipt: Receipt, event: DocumentIndexed | DocumentSettled) -> Outcome:
    """What the record that ends a change says of it."""
    if isinstance(event, DocumentSettled):
        return Outcome(
            receipt=receipt,
            outcome=event.outcome,
            version=event.version,
            reason=event.reason,
            message=event.message,
        )
    return Outcome(
        receipt=receipt,
        outcome="deleted" if event.deleted else "indexed",
        version=event.version,
        n_chunks=len(event.chunks),
        n_embedded=event.n_embedded,
        n_reused=event.n_reused,
    )


def _refuse(watched: Watched, error: Exception) -> None:
    if not watched.future.done():
        watched.future.set_exception(error)
        watched.future.exception()  # seen: nobody has to await a receipt


def _unavailable(connection: Connection, error: BaseException) -> Unavailable:
    return Unavailable(
        f"outcomes cannot be read from {connection.bootstrap} ({str(error) or type(error).__name__}); "
        "is the broker running? see `millrace doctor`"
    )
