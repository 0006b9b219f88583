"""The client for code without an event loop: the same methods, run on a thread of the client's own."""

import asyncio
import contextlib
import threading
from collections.abc import Collection, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from millrace.client import Answer, Asked, Millrace, Outcome, Produced
from millrace.client.feedback import FeedbackOptions
from millrace.client.options import AskOptions, PutOptions
from millrace.connection import Connection
from millrace.errors import ConfigurationError
from millrace.event import Event
from millrace.events.feedback import InteractionKind
from millrace.events.query import AnswerDelta, Receipt
from millrace.ingest.known import KnownDocument
from millrace.topics import Topic

T = TypeVar("T")


class Client:
    """Sync client of a running stack; use it as ``with Client() as client``, from any number of threads.

    Arguments and methods are those of `millrace.client.Millrace`.
    """

    def __init__(self, connection: Connection | None = None, **options: Any) -> None:
        self._connection = connection
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: Millrace | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Connect.

        Raises
        ------
        StackNotFound, Unavailable
            There is no stack, or its broker does not answer.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="millrace-client", daemon=True)
        self._thread.start()
        try:
            self._client = self.run(self._connect())
        except BaseException:
            self._end_thread()
            raise

    def close(self) -> None:
        """Send what is queued, disconnect, end the thread. Closing twice is harmless."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            self.run(client.__aexit__(None, None, None))
        finally:
            self._end_thread()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the client's thread and wait; an interrupt here cancels it there."""
        if self._loop is None:
            work.close()
            raise ConfigurationError("this client is closed, or was never opened: use `with Client() as client`")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def asynchronous(self) -> Millrace:
        """The client underneath; hand its coroutines to `run`.

        Raises
        ------
        ConfigurationError
            This client is not open.
        """
        if self._client is None:
            raise ConfigurationError("this client is closed, or was never opened: use `with Client() as client`")
        return self._client

    def produce(self, event: Event, topic: Topic | None = None) -> Produced:
        """See `Millrace.produce`."""
        return self.run(self.asynchronous.produce(event, topic))

    def put_document(self, document: str, content: str | bytes, **options: Unpack[PutOptions]) -> Receipt:
        """See `Millrace.put_document`."""
        return self.run(self.asynchronous.put_document(document, content, **options))

    def delete_document(self, document: str, **options: Unpack[PutOptions]) -> Receipt:
        """See `Millrace.delete_document`."""
        return self.run(self.asynchronous.delete_document(document, **options))

    def document(self, document: str, *, tenant: str | None = None) -> KnownDocument:
        """See `Millrace.document`."""
        return self.run(self.asynchronous.document(document, tenant=tenant))

    def set_acl(self, document: str, groups: Collection[str], *, tenant: str | None = None) -> Receipt:
        """See `Millrace.set_acl`."""
        return self.run(self.asynchronous.set_acl(document, groups, tenant=tenant))

    def grant(self, document: str, groups: Collection[str], *, tenant: str | None = None) -> Receipt:
        """See `Millrace.grant`."""
        return self.run(self.asynchronous.grant(document, groups, tenant=tenant))

    def revoke(self, document: str, groups: Collection[str], *, tenant: str | None = None) -> Receipt:
        """See `Millrace.revoke`."""
        return self.run(self.asynchronous.revoke(document, groups, tenant=tenant))

    def wait(self, receipts: Receipt | Sequence[Receipt], timeout_s: float = 60.0) -> list[Outcome]:
        """See `Millrace.wait`."""
        return self.run(self.asynchronous.wait(receipts, timeout_s))

    def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """See `Millrace.ask`."""
        return self.run(self.asynchronous.ask(question, **options))

    def search(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """See `Millrace.search`."""
        return self.run(self.asynchronous.search(question, **options))

    def feedback(self, answer: Answer | Asked | str, **options: Unpack[FeedbackOptions]) -> Produced:
        """See `Millrace.feedback`."""
        return self.run(self.asynchronous.feedback(answer, **options))

    def interact(
        self,
        answer: Answer | Asked | str,
        kind: InteractionKind,
        *,
        user: str = "",
        tenant: str = "",
        conversation: str = "",
    ) -> Produced:
        """See `Millrace.interact`."""
        return self.run(self.asynchronous.interact(answer, kind, user=user, tenant=tenant, conversation=conversation))

    def ask_stream(self, question: str, **options: Unpack[AskOptions]) -> Iterator[AnswerDelta | Answer]:
        """See `Millrace.ask_stream`."""
        parts = self.asynchronous.ask_stream(question, **options)
        try:
            while (part := self.run(anext(parts, None))) is not None:
                yield part
        finally:
            with contextlib.suppress(ConfigurationError):  # closed while the loop was left open
                self.run(parts.aclose())

    async def _connect(self) -> Millrace:
        client = Millrace(self._connection, **self._options)
        return await client.__aenter__()

    def _end_thread(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()
