"""Send what changed in sources, and follow what becomes of it."""

import asyncio
import contextlib
import hashlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from millrace.client import Millrace
from millrace.client.documents import Change, Sent, canonical
from millrace.client.outcomes import Outcome, OutcomeReader
from millrace.errors import InputRejected
from millrace.events.query import Receipt
from millrace.ingest.access import Inheritance
from millrace.ingest.known import KnownDocument
from millrace.ingest.opening import Plan, open_sources
from millrace.ingest.source import Document, Held, Skipped, Source
from millrace.ingest.window import DURABLE_BYTES, EMBEDDED_BYTES, Window
from millrace.keys import document_key
from millrace.topics import SOURCE_CHANGED

MAX_LOST: Final = 0.2
_UNACKNOWLEDGED: Final = 512
_MAY_PASS: Final = frozenset({"erased", "object_tampered", "no_content"})
"""Reasons of a rejection that the same content does not meet again when it is sent once more."""


class Report(msgspec.Struct, kw_only=True):
    """What was done, and what became of it.

    Attributes
    ----------
    n_found, n_sent, n_unchanged, n_access, n_deleted : int
        Documents found, of these sent, found unchanged, given other groups; documents deleted.
    n_inherited : int
        New documents that got the groups of what they seem to come from.
    n_bytes : int
        Bytes of content sent.
    skipped : list of Skipped
        What was not sent, and why.
    passed_over : counter of str
        Files and objects of formats that are not read, by their endings.
    n_put_off : int
        Files left for a later run because they were written just now.
    still_rejected : list of Outcome
        Unchanged documents that were rejected as they are, by an earlier run, and were not sent again.
    receipts : list of Receipt
        Of everything sent.
    outcomes : list of Outcome
        Of everything sent, in the order in which they were known.
    """

    n_found: int = 0
    n_sent: int = 0
    n_unchanged: int = 0
    n_access: int = 0
    n_deleted: int = 0
    n_inherited: int = 0
    n_bytes: int = 0
    n_put_off: int = 0
    skipped: list[Skipped] = []
    passed_over: Counter[str] = msgspec.field(default_factory=Counter)
    still_rejected: list[Outcome] = []
    receipts: list[Receipt] = []
    outcomes: list[Outcome] = []

    @property
    def failed(self) -> bool:
        """Whether a document was not sent, or a change ended rejected or failed, in this run or an earlier one."""
        return bool(self.skipped or self.still_rejected) or any(not outcome.good for outcome in self.outcomes)

    @property
    def rejected(self) -> list[Outcome]:
        """Documents that are rejected as they stand, whether this run sent them or an earlier one."""
        return self.still_rejected + [outcome for outcome in self.outcomes if outcome.outcome == "rejected"]

    def counts(self) -> Counter[str]:
        """Outcomes by name."""
        return Counter(outcome.outcome for outcome in self.outcomes)


Progress = Callable[[Report, str], None]


class Ingestion:
    """One run of `ingest`.

    Parameters
    ----------
    client : Millrace
        An open client.
    plan : Plan
        What to do.
    sources : sequence of Source, optional
        Where documents come from; by default those that the plan names, opened and closed by the run.
    progress : callable
        ``progress(report, waiting_for)`` whenever something changed; the text is empty while nothing is waited for.
    max_bytes : int, optional
        Bytes that a partition may hold without an outcome; by default 1 MB on the embedded broker, whose log is
        small, and 64 MB elsewhere.
    patience_s : float
        How long without any outcome before `progress` is told, in seconds.
    """

    def __init__(
        self,
        client: Millrace,
        plan: Plan,
        progress: Progress = lambda _report, _waiting: None,
        *,
        sources: Sequence[Source] | None = None,
        max_bytes: int | None = None,
        patience_s: float = 2.0,
    ) -> None:
        self._client = client
        self._plan = plan
        self._sources = sources
        self._progress = progress
        self._max_bytes = max_bytes or (EMBEDDED_BYTES if client.connection.embedded else DURABLE_BYTES)
        self._patience_s = patience_s
        self._follows = plan.wait or client.connection.embedded
        self._unacknowledged: deque[asyncio.Future[object]] = deque()
        self._pending: list[Receipt] = []
        self._seen: set[str] = set()
        self._window: Window | None = None
        self._inheritance = Inheritance((), client.connection.groups)
        self.report = Report()

    async def run(self) -> Report:
        """Send every change, then, if asked, wait for all outcomes.

        Raises
        ------
        InputRejected
            A path does not exist, or the deletions need a confirmation; nothing was sent.
        Unavailable, LogTruncated
            The broker or its log is gone; a repetition sends only what is missing.
        """
        if self._sources is not None:
            return await self._run(self._sources)
        async with open_sources(self._plan) as sources:
            return await self._run(sources)

    async def _run(self, sources: Sequence[Source]) -> Report:
        await asyncio.to_thread(self._client.known.refresh)
        known = [document for document in self._client.known.all() if document.tenant == self._plan.tenant]
        lost = await self._lost(sources, known) if self._plan.sync else []
        self._inheritance = Inheritance(known, self._client.connection.groups)
        await self._client.waiter.prepare()
        if self._follows:
            await self._client.waiter.follow()
        n = await self._client.partitions(SOURCE_CHANGED)
        self._window = Window(n, self._max_bytes, self._ended)
        earlier: OutcomeReader | None = None
        try:
            for source in sources:
                async with contextlib.aclosing(source.documents(self._held(source))) as documents:
                    async for document in documents:
                        await self._document(document, source)
                self.report.skipped += source.skipped
                self.report.passed_over += source.passed_over
                self.report.n_put_off += len(source.put_off)
            for gone in filter(self._is_missing, lost):
                await self._delete(gone)
            await self._acknowledge(0)
            for source in sources:
                await source.commit()
            if self._pending:
                earlier = await self._follow_pending()
            while self._plan.wait and self._window.n_open:
                await self._outcome()
        finally:
            for future in self._unacknowledged:
                future.cancel()
            await asyncio.gather(*self._unacknowledged, return_exceptions=True)
            if earlier is not None:
                await earlier.stop()
        return self.report

    async def _lost(self, sources: Sequence[Source], known: Sequence[KnownDocument]) -> list[KnownDocument]:
        names = {source.name for source in sources}
        mine = [d for d in known if d.source in names and d.exists]
        gone: set[str] = set()
        for name in names:
            lost = {d.document for d in mine if d.source == name}
            for source in sources:
                if source.name == name:
                    lost &= await source.lost(lost)
            gone |= lost
        if len(gone) > MAX_LOST * len(mine) and not self._plan.confirmed:
            name = ", ".join(sorted(names))
            message = (
                f"--sync would delete {len(gone)} of {len(mine)} documents of {name}, more than {MAX_LOST:.0%}; "
                "is this the right source? If so, repeat with --yes. "
            )
            if not self._plan.goes_on:
                raise InputRejected(message + "Nothing was sent")
            self._skip(name, "unconfirmed", message + "Nothing was deleted")
            return []
        return [d for d in mine if d.document in gone]

    def _held(self, source: Source) -> Held:
        def held(document: str) -> str:
            known = self._client.known.get(self._plan.tenant, document)
            mine = known.source in {"", source.name}
            return known.sha256 if mine and self._is_settled(known) else ""

        return held

    async def _document(self, document: Document, source: Source) -> None:
        if document.id in self._seen:
            self._skip(document.id, "duplicate", "another source of this call has the same id; use --prefix, two calls")
            return
        self._seen.add(document.id)
        self.report.n_found += 1
        known = self._client.known.get(self._plan.tenant, document.id)
        if known.exists and known.source not in {"", source.name}:
            message = f"the document belongs to source {known.source!r}; use --prefix, or --source {known.source}"
            self._skip(document.id, "conflict", message)
        elif document.state == "deleted":
            if known.exists:
                await self._delete(known)
        else:
            try:
                await self._change(document, known, source.name)
            except InputRejected as error:  # this document's alone, such as bytes without a folder to put them into
                self._skip(document.id, error.error_type, str(error))
        self._progress(self.report, "")

    async def _change(self, document: Document, known: KnownDocument, source: str) -> None:
        groups = self._plan.groups
        if groups is None and known.groups is None:
            sha256 = hashlib.sha256(document.content).hexdigest() if document.content is not None else known.sha256
            groups = self._inheritance.groups(source, sha256)
            self.report.n_inherited += canonical(groups) != canonical(self._client.connection.groups)
        same_access = groups is None or (known.groups is not None and canonical(known.groups) == canonical(groups))
        if document.state == "unchanged" or self._is_same(known, document.content or b""):
            if known.status == "rejected":
                self.report.still_rejected.append(_rejection(known))
            if known.status == "pending" and self._plan.wait:
                self._pending.append(Receipt(known.tenant, known.document, known.version, 0, known.order[0]))
            if same_access:
                self.report.n_unchanged += 1
                return
            await self._room(document.id)
            acl = canonical(groups or ())
            writer = self._client.documents
            sent = await writer.set_access(self._plan.tenant, document.id, lambda _: acl, refresh=False)
            self.report.n_access += 1
        else:
            change = Change(
                tenant=self._plan.tenant,
                document=document.id,
                content=document.content or b"",
                source=source,
                media_type=document.media_type,
                title=document.title,
                trust=document.trust,
                labels=self._plan.labels,
                groups=None if same_access else groups,
            )
            await self._room(document.id)
            sent = await self._client.documents.send(change, refresh=False)
            self.report.n_sent += 1
            self.report.n_bytes += len(document.content or b"")
        await self._sent(sent)

    def _is_missing(self, known: KnownDocument) -> bool:
        """Whether a document that seemed to be lost was not found after all while the run went on."""
        return known.document not in self._seen

    def _is_settled(self, known: KnownDocument) -> bool:
        """Whether to send the content that the log holds once more would change nothing."""
        if not known.exists or known.labels != self._plan.labels or known.status == "failed":
            return False
        return known.status != "rejected" or (known.reason not in _MAY_PASS and not self._plan.retry)

    def _is_same(self, known: KnownDocument, content: bytes) -> bool:
        return self._is_settled(known) and known.sha256 == hashlib.sha256(content).hexdigest()

    async def _delete(self, known: KnownDocument) -> None:
        await self._room(known.document)
        change = Change(tenant=known.tenant, document=known.document, content=None, source=known.source)
        await self._sent(await self._client.documents.send(change, refresh=False))
        self.report.n_deleted += 1

    async def _sent(self, sent: Sent) -> None:
        self.report.receipts.append(sent.receipt)
        self._unacknowledged.append(asyncio.ensure_future(_awaited(sent.acknowledged)))
        if self._follows and self._window is not None:
            key = document_key(sent.receipt.tenant, sent.receipt.document)
            self._window.add(key, sent.n_bytes, self._client.waiter.outcome(sent.receipt))
        await self._acknowledge(_UNACKNOWLEDGED)

    async def _follow_pending(self) -> OutcomeReader:
        """Changes that an earlier run sent and that have no outcome yet are waited for as well."""
        futures: dict[Receipt, asyncio.Future[Outcome]] = {}
        reader = await self._client.waiter.from_the_beginning(self._pending, futures)
        for receipt, future in futures.items():
            self.report.receipts.append(receipt)
            if self._window is not None:
                self._window.add(document_key(receipt.tenant, receipt.document), 0, future)
        return reader

    async def _acknowledge(self, at_most: int) -> None:
        while len(self._unacknowledged) > at_most:
            await self._unacknowledged[0]
            del self._unacknowledged[0]

    async def _room(self, document: str) -> None:
        key = document_key(self._plan.tenant, document)
        while self._follows and self._window is not None and not self._window.has_room(key):
            await self._acknowledge(0)
            await self._outcome()

    async def _outcome(self) -> None:
        if self._window is not None and not await self._window.wait(self._patience_s):
            self._progress(self.report, f"waiting for workers: {self._window.n_open} changes have no outcome yet")

    def _ended(self, outcome: Outcome) -> None:
        self.report.outcomes.append(outcome)
        self._progress(self.report, "")

    def _skip(self, document: str, reason: str, message: str) -> None:
        self.report.skipped.append(Skipped(document, reason, message))


def _rejection(known: KnownDocument) -> Outcome:
    receipt = Receipt(known.tenant, known.document, known.version, 0, known.order[0])
    return Outcome(
        receipt=receipt, outcome="rejected", version=known.version, reason=known.reason, message=known.message
    )


async def _awaited(work: Awaitable[object]) -> object:
    return await work
