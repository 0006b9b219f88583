"""Ask: send a question, follow its reply, resolve exactly once, at the latest at the deadline."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from itertools import count
from typing import Final, Literal

import msgspec

from millrace import keys
from millrace.client.answers import Answer, answer_of, failure_of
from millrace.client.cancelling import Canceller
from millrace.client.frames import Frame
from millrace.client.producing import EventProducer
from millrace.client.replies import Pending, ReplyReader
from millrace.codec import Codec, Record
from millrace.connection import Connection
from millrace.errors import InputRejected, RequestFailed
from millrace.events.query import AnswerCompleted, AnswerDelta, QueryReceived, Receipt
from millrace.receipts import MAX_RECEIPTS, merged
from millrace.telemetry import Span, TraceContext, Tracer, names
from millrace.telemetry.tracing import ended, undecided
from millrace.topics import REPLY

_CONVERSATIONS: Final = 1024
_LAST_WORDS_S: Final = 2.0


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question as it is to be sent; see `millrace.client.Millrace.ask` for the fields."""

    text: str
    tenant: str
    user: str = ""
    groups: tuple[str, ...] = ()
    mode: Literal["answer", "search"] = "answer"
    after: tuple[Receipt, ...] = ()
    conversation: str = ""
    watermark: str = ""
    labels: Mapping[str, str] = {}
    top_k: int = 10
    exact: bool = False
    explain: bool = False
    timeout_s: float = 30.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question that is on the log, and where its replies will be.

    Attributes
    ----------
    correlation : str
        Its name in the log; a question that is asked again gets another.
    conversation : str
        Conversation it belongs to.
    trace_id : str
        Its trace, which attempts of one question share; empty where it is not known.
    partition, offset : int
        Partition of the reply topic, and the offset that all its frames come behind.
    """

    correlation: str
    conversation: str
    trace_id: str = ""
    partition: int
    offset: int


class Asker:
    """Asks over the topics; one reply reader serves all pending questions.

    Parameters
    ----------
    producer : EventProducer
        Sends questions.
    asker_id : str
        Names this asker; its hash chooses the reply partition unless `partition` does.
    partition : int, optional
        Reply partition of this replica.
    max_pending : int
        Questions that may wait at the same time.
    timeout_s : float
        How long the broker may take to answer, in seconds.
    tracer : Tracer, optional
        Makes a span of each question.
    """

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        producer: EventProducer,
        *,
        asker_id: str,
        partition: int | None,
        max_pending: int,
        timeout_s: float,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._connection = connection
        self._codec = codec
        self._producer = producer
        self._asker_id = asker_id
        self._partition = partition
        self._max_pending = max_pending
        self._timeout_s = timeout_s
        self._starting = asyncio.Lock()
        self._watermarks: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._past_late = 0
        self._canceller = Canceller(producer, most=max_pending)
        self._leaving = False
        self.replies: ReplyReader | None = None

    @property
    def n_pending(self) -> int:
        """Questions that wait for an answer."""
        return self.replies.n_pending if self.replies is not None else 0

    @property
    def n_late(self) -> int:
        """Reply frames that came after their question had ended."""
        return self._past_late + (self.replies.n_late if self.replies else 0)

    async def stop(self) -> None:
        """End the reply reader; pending questions fail, and the workers are told."""
        if self.replies is not None:
            await self.replies.stop()
        await self._canceller.stop(min(_LAST_WORDS_S, self._timeout_s))

    async def ask(self, question: Question) -> Answer:
        """The answer; see `millrace.client.Millrace.ask`."""
        async with aclosing(self._parts(question, pieces=False)) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    return part
        raise RequestFailed("no_terminal", "the reply ended without a terminal frame; ask again")

    def stream(self, question: Question) -> AsyncGenerator[AnswerDelta | Answer, None]:
        """Pieces in order, then the answer; see `millrace.client.Millrace.ask_stream`."""
        return self._parts(question, pieces=True)

    def follow(self, question: Question) -> AsyncGenerator[Asked | Frame, None]:
        """Frames as they are on the log; see `millrace.client.Millrace.follow`."""
        return self._asked(question, pieces=True)

    def cancel(self, tenant: str, asked: Asked) -> None:
        """Tell the workers that nobody waits for a question any more."""
        self._canceller.cancel(tenant, asked.conversation, asked.correlation)

    def leave(self) -> None:
        """From now on a question that is given up is not cancelled: someone else will read its reply."""
        self._leaving = True

    async def _parts(self, question: Question, *, pieces: bool) -> AsyncGenerator[AnswerDelta | Answer, None]:
        """Pieces if they are wanted, and the answer; raises where there is none."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        conversation = trace_id = ""
        async with aclosing(self._asked(question, pieces=pieces)) as frames:
            async for frame in frames:
                if isinstance(frame, Asked):
                    conversation, trace_id = frame.conversation, frame.trace_id
                elif isinstance(frame, AnswerCompleted):
                    latency_ms = (loop.time() - started) * 1000
                    yield answer_of(frame, trace_id=trace_id, conversation=conversation, latency_ms=latency_ms)
                elif not isinstance(frame, AnswerDelta):
                    raise failure_of(frame)
                elif pieces:
                    yield frame

    async def _asked(self, question: Question, *, pieces: bool) -> AsyncGenerator[Asked | Frame, None]:
        correlation = secrets.token_hex(16)
        if self._tracer is None:
            async with aclosing(self._attempts(question, correlation, None, pieces=pieces)) as frames:
                async for frame in frames:
                    yield frame
            return
        attributes = {names.TENANT: question.tenant, names.MODE: question.mode, names.MESSAGING_SYSTEM: "kafka"}
        span = self._tracer.start("ask", "client", undecided(correlation), attributes=attributes)
        n = 0
        with ended(span):
            async with aclosing(self._attempts(question, correlation, span, pieces=pieces)) as frames:
                async for frame in frames:
                    if not isinstance(frame, Asked):
                        if not n:
                            span.happened(names.FIRST_FRAME)
                        n += 1
                        span.set(names.FRAMES, n)
                    if isinstance(frame, AnswerCompleted):
                        span.set(names.STATUS, "found" if frame.found else "not_found")
                    yield frame

    async def _attempts(
        self, question: Question, correlation: str, span: Span | None, *, pieces: bool
    ) -> AsyncGenerator[Asked | Frame, None]:
        """Ask, and ask anew while the workers say that it makes sense, unless a piece was already given away."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        conversation = question.conversation or correlation
        allowed_s = question.timeout_s
        for n in count():
            given = False
            once = msgspec.structs.replace(question, conversation=conversation, timeout_s=allowed_s)
            trace = span.context if span is not None else undecided(correlation, secrets.token_hex(8))
            async with aclosing(self._frames(once, correlation, trace)) as frames:
                async for frame in frames:
                    if not isinstance(frame, Asked | AnswerDelta):
                        end = frame
                        break
                    given = given or (pieces and isinstance(frame, AnswerDelta))
                    yield frame
            if isinstance(end, AnswerCompleted):
                self._keep_watermark(end.watermark, question.tenant, conversation)
                yield end
                return
            wait_s = end.retry_after_ms / 1000 * 2**n
            if given or not wait_s or loop.time() + wait_s >= started + question.timeout_s:
                yield end
                return
            await asyncio.sleep(wait_s)
            correlation = secrets.token_hex(16)
            allowed_s = started + question.timeout_s - loop.time()

    async def _frames(
        self, question: Question, correlation: str, trace: TraceContext
    ) -> AsyncGenerator[Asked | Frame, None]:
        """Send a question once and follow its frames; the terminal one is the last."""
        expires_at = asyncio.get_running_loop().time() + question.timeout_s
        pending: Pending | None = None
        unanswered = False
        try:
            async with asyncio.timeout_at(expires_at):
                replies = await self._replies()
                asked = Asked(
                    correlation=correlation,
                    conversation=question.conversation,
                    trace_id=trace.trace_id,
                    partition=replies.partition,
                    offset=replies.position,
                )
                pending = replies.open(correlation, question.tenant, expires_at)
                record = self._record(question, correlation, trace, replies.partition)
                unanswered = True
                await self._producer.produce(record)
            yield asked
            while True:
                frame = await pending.next()
                unanswered = unanswered and isinstance(frame, AnswerDelta)
                yield frame
        except TimeoutError as error:
            raise RequestFailed(
                "deadline_exceeded",
                f"no answer within {question.timeout_s:g} s; are query workers running (`millrace doctor`)? "
                f"ask again, or allow more time. The question is {correlation} in the log",
            ) from error
        finally:
            if pending is not None and self.replies is not None:
                self.replies.close(pending)
            if unanswered and not self._leaving:
                self._canceller.cancel(question.tenant, question.conversation, correlation, trace)

    def _record(self, question: Question, correlation: str, trace: TraceContext, partition: int) -> Record:
        body = self._body(question)
        event = self._producer.with_meta(
            body,
            correlation_id=correlation,
            traceparent=trace.traceparent,
            tracestate=trace.tracestate,
            reply_to=REPLY.name,
            reply_partition=partition,
            deadline_ms=time.time_ns() // 1_000_000 + body.timeout_ms,
        )
        return self._producer.encode(event)

    def _body(self, question: Question) -> QueryReceived:
        after = merged(question.after)
        if len(after) > MAX_RECEIPTS:
            raise InputRejected(
                f"a question can wait for at most {MAX_RECEIPTS} documents, {len(after)} were given; "
                "wait for them first (`client.wait`, `ingest --wait`)"
            )
        if strangers := {receipt.tenant for receipt in after} - {question.tenant}:
            raise InputRejected(
                f"the receipt names tenant {min(strangers)!r}, the question tenant {question.tenant!r}; "
                "ask as the tenant that owns the documents"
            )
        return QueryReceived(
            tenant=question.tenant,
            conversation=question.conversation,
            question=question.text,
            user=question.user,
            groups=question.groups,
            mode=question.mode,
            top_k=question.top_k,
            exact=question.exact,
            explain=question.explain,
            labels=dict(question.labels),
            after=after,
            # One that is given is newer than what is kept here, where others answered in the meantime.
            watermark=question.watermark or self._watermarks.get((question.tenant, question.conversation), ""),
            timeout_ms=max(1, int(question.timeout_s * 1000)),
        )

    def _keep_watermark(self, watermark: str, tenant: str, conversation: str) -> None:
        if watermark:
            self._watermarks[tenant, conversation] = watermark
            self._watermarks.move_to_end((tenant, conversation))
            if len(self._watermarks) > _CONVERSATIONS:
                self._watermarks.popitem(last=False)

    async def _replies(self) -> ReplyReader:
        async with self._starting:
            if self.replies is not None and self.replies.alive:
                return self.replies
            if self.replies is not None:  # its position was lost: those who waited were told, new ones read anew
                self._past_late += self.replies.n_late
                await self.replies.stop()
                self.replies = None
            n = await self._producer.partitions(REPLY.name)
            partition = keys.partition_for(self._asker_id, n) if self._partition is None else self._partition
            if not 0 <= partition < n:
                raise InputRejected(f"reply partition {partition} does not exist, {REPLY.name} has {n}: 0 to {n - 1}")
            reader = ReplyReader(
                self._connection,
                self._codec,
                partition,
                max_pending=self._max_pending,
                timeout_s=self._timeout_s,
            )
            await reader.start()
            self.replies = reader
            return reader
