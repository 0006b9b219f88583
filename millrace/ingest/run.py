"""Send what changed in folders, and follow what becomes of it."""

import asyncio
import hashlib
import os
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from millrace.client import Millrace
from millrace.client.documents import Change, Sent, canonical
from millrace.client.outcomes import Outcome, OutcomeReader
from millrace.errors import InputRejected
from millrace.events.query import Receipt
from millrace.ingest.known import KnownDocument
from millrace.ingest.walk import UTF8_TYPES, FoundFile, Rules, Skipped, Walk
from millrace.ingest.window import DURABLE_BYTES, EMBEDDED_BYTES, Window
from millrace.keys import document_key
from millrace.topics import SOURCE_CHANGED

MAX_LOST: Final = 0.2
_UNACKNOWLEDGED: Final = 512


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to ingest and how.

    Attributes
    ----------
    groups : tuple of str or None
        Groups that may read the documents. None gives those of the connection to a document
        that has no access yet and leaves others.
    prefix : str
        Put before each id, with a slash, so that two folders can share a tenant.
    sync : bool
        Delete documents of the source whose file is gone.
    confirmed : bool
        Delete even more than a fifth of the source.
    wait : bool
        Follow every change to its outcome.
    """

    paths: tuple[Path, ...]
    tenant: str = "default"
    source: str = ""
    groups: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    prefix: str = ""
    rules: Rules = Rules()
    sync: bool = False
    confirmed: bool = False
    wait: bool = False


class Report(msgspec.Struct, kw_only=True):
    """What was done, and what became of it.

    Attributes
    ----------
    n_files, n_sent, n_unchanged, n_access, n_deleted : int
        Files found, of these sent, found unchanged, given other groups; documents deleted.
    n_bytes : int
        Bytes of content sent.
    skipped : list of Skipped
        Files that were not sent, and why.
    receipts : list of Receipt
        Of everything sent.
    outcomes : list of Outcome
        Of everything sent, in the order in which they were known.
    """

    n_files: int = 0
    n_sent: int = 0
    n_unchanged: int = 0
    n_access: int = 0
    n_deleted: int = 0
    n_bytes: int = 0
    skipped: list[Skipped] = []
    receipts: list[Receipt] = []
    outcomes: list[Outcome] = []

    @property
    def failed(self) -> bool:
        """Whether a file was not sent, or a change ended rejected or failed."""
        return bool(self.skipped) or any(not outcome.good for outcome in self.outcomes)

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
        max_bytes: int | None = None,
        patience_s: float = 2.0,
    ) -> None:
        self._client = client
        self._plan = plan
        self._progress = progress
        self._max_bytes = max_bytes or (EMBEDDED_BYTES if client.connection.embedded else DURABLE_BYTES)
        self._patience_s = patience_s
        self._follows = plan.wait or client.connection.embedded
        self._unacknowledged: deque[asyncio.Future[object]] = deque()
        self._pending: list[Receipt] = []
        self._seen: set[str] = set()
        self._window: Window | None = None
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
        walks = [Walk(path, self._plan.rules, self._plan.prefix) for path in self._plan.paths]
        await asyncio.to_thread(self._client.known.refresh)
        lost = self._lost(walks) if self._plan.sync else []
        await self._client.waiter.prepare()
        if self._follows:
            await self._client.waiter.follow()
        n = await self._client.partitions(SOURCE_CHANGED)
        self._window = Window(n, self._max_bytes, self._ended)
        earlier: OutcomeReader | None = None
        try:
            for walk in walks:
                for file in walk:
                    await self._file(file, self._plan.source or walk.root.name or "files")
                self.report.skipped += walk.skipped
            for known in lost:
                await self._delete(known)
            await self._acknowledge(0)
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

    def _lost(self, walks: Sequence[Walk]) -> list[KnownDocument]:
        if any(not path.is_dir() for path in self._plan.paths):
            raise InputRejected("--sync compares a source with folders; name folders, not files")
        names = {self._plan.source or walk.root.name for walk in walks}
        mine = [d for d in self._client.known.all() if d.tenant == self._plan.tenant and d.source in names and d.exists]
        lost = [d for d in mine if all(walk.lost(d.document) for walk in walks)]
        if len(lost) > MAX_LOST * len(mine) and not self._plan.confirmed:
            raise InputRejected(
                f"--sync would delete {len(lost)} of {len(mine)} documents of {', '.join(sorted(names))}, more than "
                f"{MAX_LOST:.0%}; is this the right folder? If so, repeat with --yes. Nothing was sent"
            )
        return lost

    async def _file(self, file: FoundFile, source: str) -> None:
        if file.id in self._seen:
            self._skip(file.id, "duplicate", "another path of this call has the same id; use --prefix and two calls")
            return
        self._seen.add(file.id)
        self.report.n_files += 1
        try:
            content = await asyncio.to_thread(_content, file.path, self._plan.rules.max_bytes)
        except OSError as error:
            self._skip(file.id, "unreadable", f"the file cannot be read: {error}")
            return
        known = self._client.known.get(self._plan.tenant, file.id)
        if known.exists and known.source not in {"", source}:
            message = f"the document belongs to source {known.source!r}; use --prefix, or --source {known.source}"
            self._skip(file.id, "conflict", message)
        elif file.media_type in UTF8_TYPES and (fault := _undecodable(content)) is not None:
            self._skip(file.id, "undecodable", fault)
        else:
            try:
                await self._change(file, content, known, source)
            except InputRejected as error:  # this file's alone, such as bytes without a folder to put them into
                self._skip(file.id, error.error_type, str(error))
        self._progress(self.report, "")

    async def _change(self, file: FoundFile, content: bytes, known: KnownDocument, source: str) -> None:
        groups = self._plan.groups
        if groups is None and known.groups is None:
            groups = self._client.connection.groups
        same_access = groups is None or (known.groups is not None and canonical(known.groups) == canonical(groups))
        if _same(known, content, self._plan.labels):
            if known.status == "pending" and self._plan.wait:
                self._pending.append(Receipt(known.tenant, known.document, known.version, 0, known.order[0]))
            if same_access:
                self.report.n_unchanged += 1
                return
            await self._room(file.id)
            acl = canonical(groups or ())
            writer = self._client.documents
            sent = await writer.set_access(self._plan.tenant, file.id, lambda _: acl, refresh=False)
            self.report.n_access += 1
        else:
            change = Change(
                tenant=self._plan.tenant,
                document=file.id,
                content=content,
                source=source,
                media_type=file.media_type,
                labels=self._plan.labels,
                groups=None if same_access else groups,
            )
            await self._room(file.id)
            sent = await self._client.documents.send(change, refresh=False)
            self.report.n_sent += 1
            self.report.n_bytes += len(content)
        await self._sent(sent)

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


def _content(path: Path, max_bytes: int) -> bytes:
    """Bytes of a file; the resolved path must not have become a link meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"it grew over {max_bytes} bytes while it was read")
    return content


def _undecodable(content: bytes) -> str | None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8; convert the file (for example with iconv)"
    return None


def _same(known: KnownDocument, content: bytes, labels: dict[str, str]) -> bool:
    if not known.exists or known.status in {"rejected", "failed"}:
        return False
    return known.sha256 == hashlib.sha256(content).hexdigest() and known.labels == labels


async def _awaited(work: Awaitable[object]) -> object:
    return await work
