"""The asynchronous client: produce events, write documents and access, ask, and wait for outcomes."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from types import TracebackType
from typing import Final, Self, Unpack

import msgspec

from millrace.client.answers import Answer
from millrace.client.asking import Asked, Asker
from millrace.client.documents import Change, DocumentWriter, Sent, attributes_of, canonical, named
from millrace.client.feedback import FeedbackOptions, feedback_of, place_of
from millrace.client.frames import Frame
from millrace.client.options import AskOptions, PutOptions, change_of, question_of
from millrace.client.outcomes import Outcome
from millrace.client.producing import EventProducer
from millrace.client.waiting import Waiter
from millrace.codec import Codec, Record
from millrace.connection import Connection, find_connection
from millrace.contract import codec_of
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event, Origin
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.events.feedback import FeedbackGiven, InteractionKind, InteractionObserved
from millrace.events.query import AnswerDelta, Receipt
from millrace.groups import EVERYONE
from millrace.ingest.known import KnownDocument, KnownDocuments
from millrace.telemetry import Tracer, names
from millrace.telemetry.tracing import ended
from millrace.topics import Topic
from millrace.withdrawal import restored, withdrawn

_ACCESS_ATTEMPTS: Final = 8

__all__ = ["Answer", "Asked", "Millrace", "Outcome", "Produced"]


class Produced(msgspec.Struct, frozen=True):
    """Where a produced event stands, and its receipt when it is a change of a document."""

    id: str
    origin: Origin
    receipt: Receipt | None = None


class Millrace:
    """Client of a running stack; use it as ``async with Millrace() as millrace``.

    Parameters
    ----------
    connection : Connection, optional
        Where the stack is; found by `millrace.connection.find_connection` when not given.
    tenant : str
        Tenant of every call that names none; else that of the connection.
    asker_id : str
        Names this replica; its hash chooses the partition that replies come on. Random when empty.
    reply_partition : int, optional
        Partition that replies come on, where the deployment assigns one to each replica.
    codec : Codec, optional
        With event classes of your own registered.
    timeout_s : float
        How long the broker may take to answer or acknowledge, in seconds.
    max_pending : int
        Questions that may wait for an answer at the same time.
    tracer : Tracer, optional
        Makes a span of each question and of each document that is written; see `millrace.telemetry.opentelemetry`.
    """

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        tenant: str = "",
        asker_id: str = "",
        reply_partition: int | None = None,
        codec: Codec | None = None,
        timeout_s: float = 10.0,
        max_pending: int = 1024,
        tracer: Tracer | None = None,
    ) -> None:
        self.connection = connection or find_connection()
        self.tenant = tenant or self.connection.tenant
        codec = codec or codec_of(self.connection)
        name = asker_id or secrets.token_hex(8)
        self._producer = EventProducer(self.connection, codec, source=f"millrace/{name}", timeout_s=timeout_s)
        self.waiter = Waiter(self.connection, codec, timeout_s)
        self.known = KnownDocuments(self.connection, codec)
        self.documents = DocumentWriter(self.connection, self._producer, self.known, self.waiter.note)
        self._asker = Asker(
            self.connection,
            codec,
            self._producer,
            asker_id=name,
            partition=reply_partition,
            max_pending=max_pending,
            timeout_s=timeout_s,
            tracer=tracer,
        )
        self._tracer = tracer

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.gather(self._asker.stop(), self.waiter.stop())
        await self._producer.stop()

    @property
    def late_replies(self) -> int:
        """Reply frames that came after their question had ended, and were dropped."""
        return self._asker.n_late

    @property
    def pending_questions(self) -> int:
        """Questions that wait for an answer."""
        return self._asker.n_pending

    async def produce(self, event: Event, topic: Topic | None = None) -> Produced:
        """Write any event and wait until all replicas have it.

        Parameters
        ----------
        event : Event
            With metadata, or without for an event that nothing caused.
        topic : Topic, optional
            Where to; an event of Millrace's own knows its topic.

        Raises
        ------
        ContractError
            The event does not fit its schema or the topic.
        TooLarge
            It is over the topic's limit.
        Unavailable
            The broker did not acknowledge in time. Produce the same event again, `meta` included: it is harmless.
        """
        complete = self._producer.with_meta(event)
        record = self._producer.encode(complete, topic)
        receipt = _receipt_of(complete)
        if receipt is not None:
            await self.waiter.prepare()
            self.waiter.note(receipt)
        return Produced(complete.meta.id, await self._producer.produce(record), receipt)

    async def produce_record(self, record: Record) -> Origin:
        """Write a record as it is, unchecked: for putting back what was read from the log."""
        return await self._producer.produce(record)

    async def put_document(self, document: str, content: str | bytes, **options: Unpack[PutOptions]) -> Receipt:
        """Write a document; it is acknowledged when this returns, and visible once its outcome is ``indexed``.

        Parameters
        ----------
        document : str
            Id within the tenant.
        content : str or bytes
            The whole content. Small text travels inline, everything else by reference to the object store.
        **options
            See `millrace.client.options.PutOptions`. Of two writers that give `groups` at the same moment the first one
            in the log counts; `set_acl`, `grant` and `revoke` look again and repeat themselves.

        Returns
        -------
        Receipt
            For `wait`, and for `ask(after=...)`.

        Raises
        ------
        InputRejected
            It cannot be sent.
        Unavailable
            The broker did not acknowledge in time.
        """
        return await self._send(change_of(document, content, self.tenant, options))

    async def delete_document(self, document: str, **options: Unpack[PutOptions]) -> Receipt:
        """Delete a document; its outcome is ``deleted``. See `put_document`."""
        return await self._send(change_of(document, None, self.tenant, options))

    async def document(self, document: str, *, tenant: str | None = None) -> KnownDocument:
        """What the log says of one document now: newest version, its outcome, groups."""
        return await self.documents.known(tenant or self.tenant, document)

    async def set_acl(self, document: str, groups: Collection[str], *, tenant: str | None = None) -> Receipt:
        """Say which groups may read a document: exactly these, ``*`` for everyone in the tenant, none for nobody."""
        wanted = named(groups)
        return await self._change_access(document, tenant, lambda _: wanted)

    async def grant(self, document: str, groups: Collection[str], *, tenant: str | None = None) -> Receipt:
        """Let further groups read a document."""
        more = named(groups)
        return await self._change_access(
            document, tenant, lambda known: canonical({*restored(known.groups or ()), *more})
        )

    async def revoke(self, document: str, groups: Collection[str], *, tenant: str | None = None) -> Receipt:
        """Take the right to read a document from groups.

        Raises
        ------
        InputRejected
            One of them may read it as part of everyone (``*``), so taking it alone would change nothing.
        """
        gone = set(canonical(groups))

        def without(known: KnownDocument) -> tuple[str, ...]:
            have = set(restored(known.groups or ()))
            if EVERYONE in have - gone and gone - have:
                raise InputRejected(
                    f"{document!r} may be read by everyone in the tenant ('*'), so revoking {sorted(gone - have)} "
                    "changes nothing; revoke '*' as well, or set the groups that may read it"
                )
            return canonical(have - gone)

        return await self._change_access(document, tenant, without)

    async def _change_access(
        self, document: str, tenant: str | None, wanted: Callable[[KnownDocument], tuple[str, ...]]
    ) -> Receipt:
        """Write access until the log says what was wanted.

        The first record of an access version counts: a writer that comes second sees it there and writes the next one.
        """
        await self.waiter.prepare()
        for _ in range(_ACCESS_ATTEMPTS):
            receipt = await _acknowledged(await self.documents.set_access(tenant or self.tenant, document, wanted))
            known = await self.document(document, tenant=tenant)
            if known.groups is not None and canonical(known.groups) in {wanted(known), withdrawn(wanted(known))}:
                return receipt
        raise Unavailable(
            f"the access of {document!r} was changed by others {_ACCESS_ATTEMPTS} times in a row; look at it with "
            "`millrace acl show` and try again"
        )

    async def wait(self, receipts: Receipt | Sequence[Receipt], timeout_s: float = 60.0) -> list[Outcome]:
        """What became of changes, in their order.

        Raises
        ------
        DeadlineExceeded
            Some have no outcome in time.
        LogTruncated, Unavailable
            The outcomes cannot be read.
        """
        wanted = [receipts] if isinstance(receipts, Receipt) else list(receipts)
        return await self.waiter.wait(wanted, timeout_s) if wanted else []

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Ask and wait for the answer: exactly one result, at the latest when the time allowed has passed.

        A question that workers give back, because they are not ready yet or because a passage changed while it was
        read, is asked again within the time allowed, later each time.
        Cancelling the call, or running out of time, tells the workers to stop: no more work goes into the question.

        Parameters
        ----------
        question : str
            The question.
        **options
            See `millrace.client.options.AskOptions`.

        Raises
        ------
        RequestFailed
            The question failed or had no answer in time (its ``reason`` is then ``deadline_exceeded``).
        RequestRetracted
            The answer was taken back.
        Unavailable
            The broker cannot be reached.
        """
        return await self._asker.ask(question_of(question, self.tenant, options))

    def ask_stream(self, question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[AnswerDelta | Answer, None]:
        """Ask, and follow the answer as it grows: pieces in order, then the whole `Answer` as the last item.

        Once a piece has come, a question that is given back is not asked again, but raises.
        A piece with a higher ``attempt`` than those before starts the answer anew: discard what came so far.
        Leaving the loop early frees the question's place and tells the workers to stop.
        Arguments and errors as in `ask`.
        """
        return self._asker.stream(question_of(question, self.tenant, options))

    def follow(self, question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[Asked | Frame, None]:
        """Ask, and follow what the log says: for whoever hands replies on and lets others come back for the rest.

        First comes an `Asked`, then the frames in order, each with its place in ``meta.origin``; the terminal one,
        whatever it says, is the last. A question that is given back before its first piece is asked again, with another
        `Asked`. Arguments as in `ask`, and what it raises where no frame came.
        """
        return self._asker.follow(question_of(question, self.tenant, options))

    def cancel(self, asked: Asked, *, tenant: str | None = None) -> None:
        """Tell the workers, in the background, that nobody waits for the answer to a question any more."""
        self._asker.cancel(tenant or self.tenant, asked)

    def leave_questions(self) -> None:
        """From now on a question that is given up, or that is pending when the client ends, is not cancelled.

        For a replica that goes while others remain: its callers read the rest of their replies there.
        """
        self._asker.leave()

    async def feedback(self, answer: Answer | Asked | str, **options: Unpack[FeedbackOptions]) -> Produced:
        """Say what an answer was like; acknowledged when this returns.

        Parameters
        ----------
        answer : Answer, Asked or str
            The answer, or its correlation or trace id; without a `conversation` that is searched for in the log, which
            takes the right to read questions.
        **options
            See `millrace.client.feedback.FeedbackOptions`.

        Raises
        ------
        InputRejected
            It says nothing or too much, or the log has no such question.
        Unavailable
            The broker did not acknowledge in time.
        """
        tenant = options.get("tenant") or self.tenant
        feedback_of(tenant, "", "", options)  # for what cannot be said nothing is searched
        place = await place_of(self.connection, answer, tenant, options.get("conversation", ""))
        return await self._about(feedback_of(tenant, *place, options))

    async def interact(
        self,
        answer: Answer | Asked | str,
        kind: InteractionKind,
        *,
        user: str = "",
        tenant: str = "",
        conversation: str = "",
    ) -> Produced:
        """Say what somebody did with an answer: copied from it, opened a source, asked for a person, or left.

        Arguments and errors as in `feedback`.
        """
        tenant = tenant or self.tenant
        name, asked = await place_of(self.connection, answer, tenant, conversation)
        event = InteractionObserved(tenant=tenant, conversation=asked, correlation=name, user=user, kind=kind)
        return await self._about(event)

    async def _about(self, event: FeedbackGiven | InteractionObserved) -> Produced:
        return await self.produce(self._producer.with_meta(event, correlation_id=event.correlation))

    async def search(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Retrieve without reading: the answer's ``hits`` are the best visible chunks. Arguments as in `ask`."""
        options["mode"] = "search"
        return await self.ask(question, **options)

    async def partitions(self, topic: Topic) -> int:
        """Number of partitions of a topic."""
        return await self._producer.partitions(topic.name)

    async def ping(self) -> None:
        """Ask the broker for something small.

        Raises
        ------
        Unavailable
            It does not answer.
        """
        await self._producer.ping()

    async def _send(self, change: Change) -> Receipt:
        await self.waiter.prepare()
        if self._tracer is None:
            return await _acknowledged(await self.documents.send(change))
        span = self._tracer.start("put_document", "producer", attributes=attributes_of(change))
        with ended(span):
            receipt = await _acknowledged(await self.documents.send(change, trace=span.context))
            span.set(names.VERSION, receipt.version)
            return receipt


async def _acknowledged(sent: Sent) -> Receipt:
    await sent.acknowledged
    return sent.receipt


def _receipt_of(event: Event) -> Receipt | None:
    if isinstance(event, SourceChanged):
        return Receipt(event.tenant, event.document, event.version, event.acl_version, event.source_epoch)
    if isinstance(event, AclChanged):
        return Receipt(event.tenant, event.document, 0, event.version)
    return None
