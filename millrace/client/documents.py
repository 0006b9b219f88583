"""Write documents and who may read them: content by reference, versions from the log, access first."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Literal, Protocol
from weakref import WeakValueDictionary

import msgspec

from millrace.client.producing import EventProducer, checked_version, record_size
from millrace.connection import Connection
from millrace.errors import InputRejected, TooLarge
from millrace.event import Origin
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.events.query import Receipt
from millrace.ingest.known import KnownDocument, KnownDocuments
from millrace.objects import MAX_OBJECT_BYTES, ObjectFolder
from millrace.telemetry import TraceContext, names
from millrace.telemetry.tracing import Value
from millrace.topics import INLINE_MAX_BYTES, SOURCE_CHANGED
from millrace.withdrawal import WITHDRAWN, is_withdrawn, is_withheld, withdrawn

INLINE_SMALL_BYTES: Final = 4096
_LOOKING: Final = 4
_LOOKING_A_TENANT: Final = 2
"""Documents that are looked up in the log at the same time: each holds a thread that everything else needs as well."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a document, not yet numbered.

    Attributes
    ----------
    content : bytes or None
        New content; None deletes the document.
    groups : tuple of str or None
        Groups that may read it; None leaves access as it is.
    version : int or None
        Content version where the source numbers its own; None takes the last one + 1.
    """

    tenant: str
    document: str
    content: bytes | None
    source: str = "app"
    media_type: str = "text/markdown"
    title: str = ""
    labels: Mapping[str, str] = {}
    trust: Literal["trusted", "untrusted"] = "trusted"
    groups: tuple[str, ...] | None = None
    version: int | None = None
    acl_version: int | None = None
    source_epoch: int = 0


class Sent(msgspec.Struct, frozen=True):
    """A change on its way: its receipt, its size in the log, and what to await for the acknowledgement."""

    receipt: Receipt
    n_bytes: int
    acknowledged: Awaitable[object]


class Note(Protocol):
    """Takes a receipt before its change is sent."""

    def __call__(self, receipt: Receipt, *, access_known: bool = False) -> None:
        """`access_known`: whether the log holds the receipt's access already."""


class DocumentWriter:
    """Numbers and sends changes of documents.

    Parameters
    ----------
    connection : Connection
        Names the object store.
    producer : EventProducer
        Sends records.
    known : KnownDocuments
        What the log says; this writer's own changes are noted in it before they are acknowledged.
    note : Note
        Told of each receipt.
    """

    def __init__(self, connection: Connection, producer: EventProducer, known: KnownDocuments, note: Note) -> None:
        self._note = note
        self._producer = producer
        self._known = known
        # Weak: a lock or a place lives as long as somebody holds it or waits for it.
        self._numbering: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._looking_by_tenant: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._looking = asyncio.Semaphore(_LOOKING)
        self._unacknowledged: dict[tuple[str, str], set[asyncio.Task[list[Origin]]]] = {}
        folder = connection.objects_folder
        self._objects = ObjectFolder(folder, flush=not connection.embedded) if folder is not None else None

    async def send(self, change: Change, *, refresh: bool = True, trace: TraceContext | None = None) -> Sent:
        """Queue a change: access first where it changes, then the content.

        Parameters
        ----------
        trace : TraceContext, optional
            Headers of the span that writes it; without one, its trace is named after its id.
        refresh : bool
            Look into the log for the newest version first; without it, `known` is taken as it is.

        Raises
        ------
        InputRejected
            The content cannot be sent, or the document belongs to another source.
        """
        body = await self._body(change)
        async with self._alone(change.tenant, change.document):
            known = await self._newest(change, refresh=refresh)
            acl_version, n_bytes, pending = await self._access(change, known)
            version = checked_version(change.version if change.version is not None else known.version + 1)
            epoch = change.source_epoch if change.version is not None else max(change.source_epoch, known.order[0])
            event = self._producer.with_meta(
                body.replace(version=version, source_epoch=epoch, acl_version=acl_version),
                source=change.source,
                subject=change.document,
                **(trace._asdict() if trace is not None else {}),
            )
            record = self._producer.encode(event)
            access = acl_version if change.groups is not None else 0
            receipt = Receipt(change.tenant, change.document, version, access, epoch)
            self._note(receipt, access_known=not pending)
            pending.append(await self._producer.send(record))
            known.fold(event)
            acknowledged = self._acknowledged(known, pending)
        return Sent(receipt, n_bytes + record_size(record), acknowledged)

    async def set_access(
        self, tenant: str, document: str, wanted: Callable[[KnownDocument], Collection[str]], *, refresh: bool = True
    ) -> Sent:
        """Queue new access, unless it is what the log says already; then the receipt is for what stands there.

        Parameters
        ----------
        wanted : callable
            Groups that follow from what the log says. The version is the next one after exactly that state, so that of
            two writers who saw the same state only the first one in the log counts.
        """
        async with self._alone(tenant, document):
            known = await self.known(tenant, document) if refresh else self._known.get(tenant, document)
            version, n_bytes, pending = await self._write_access(known, canonical(wanted(known)))
            acknowledged = self._acknowledged(known, pending)
        return Sent(Receipt(tenant, document, 0, version), n_bytes, acknowledged)

    async def known(self, tenant: str, document: str) -> KnownDocument:
        """What the log says of a document now, this writer's own changes included."""
        if unacknowledged := self._unacknowledged.get((tenant, document)):
            await asyncio.wait(unacknowledged)  # until then the log may not hold them, and their numbers look free
        own = self._looking_by_tenant.setdefault(tenant, asyncio.Semaphore(_LOOKING_A_TENANT))
        async with own, self._looking:
            return await asyncio.to_thread(self._known.refresh_document, tenant, document)

    def _alone(self, tenant: str, document: str) -> asyncio.Lock:
        """Held while a change of a document is numbered: two at once would see the same newest version."""
        return self._numbering.setdefault((tenant, document), asyncio.Lock())

    def _acknowledged(self, known: KnownDocument, pending: list[Awaitable[Origin]]) -> Awaitable[object]:
        task = asyncio.ensure_future(_all(pending))
        place = (known.tenant, known.document)
        self._unacknowledged.setdefault(place, set()).add(task)

        def forget(done: asyncio.Task[list[Origin]]) -> None:
            self._unacknowledged[place].discard(done)
            if not self._unacknowledged[place]:
                del self._unacknowledged[place]
            if not done.cancelled():
                done.exception()  # whoever awaits it is told too; nobody has to

        task.add_done_callback(forget)
        return task

    async def _newest(self, change: Change, *, refresh: bool) -> KnownDocument:
        numbered = change.version is not None and (change.groups is None or change.acl_version is not None)
        if numbered or not refresh:
            return self._known.get(change.tenant, change.document)
        return await self.known(change.tenant, change.document)

    async def _access(self, change: Change, known: KnownDocument) -> tuple[int, int, list[Awaitable[Origin]]]:
        if change.groups is None:
            return change.acl_version if change.acl_version is not None else known.acl_version, 0, []
        return await self._write_access(known, canonical(change.groups), change.acl_version)

    async def _write_access(
        self, known: KnownDocument, groups: tuple[str, ...], version: int | None = None
    ) -> tuple[int, int, list[Awaitable[Origin]]]:
        if is_withdrawn(known.groups or ()):
            groups = withdrawn(groups)  # what it is given now counts once it is released
        if version is None and known.groups is not None and canonical(known.groups) == groups:
            return known.acl_version, 0, []
        number = checked_version(version if version is not None else known.acl_version + 1)
        event = self._producer.with_meta(
            AclChanged(tenant=known.tenant, document=known.document, version=number, groups=groups),
            subject=known.document,
        )
        record = self._producer.encode(event)
        self._note(Receipt(known.tenant, known.document, 0, number))
        pending = [await self._producer.send(record)]
        known.fold(event)
        return number, record_size(record), pending

    async def _body(self, change: Change) -> SourceChanged:
        if not change.document or not change.tenant:
            raise InputRejected(
                f"a change needs a tenant and a document id; got {change.tenant!r} and {change.document!r}"
            )
        body = SourceChanged(
            tenant=change.tenant,
            document=change.document,
            version=1,
            source=change.source,
            op="delete" if change.content is None else "upsert",
            media_type=change.media_type,
            n_bytes=len(change.content or b""),
            title=change.title,
            labels=dict(change.labels),
            trust=change.trust,
        )
        if change.content is None:
            return body
        text = _text(change.content)
        if text is not None and len(change.content) <= INLINE_SMALL_BYTES:
            return body.replace(text=text)
        if self._objects is not None:
            if len(change.content) > MAX_OBJECT_BYTES:
                raise TooLarge(
                    f"document {change.document!r} has {len(change.content)} bytes, allowed are {MAX_OBJECT_BYTES}"
                )
            return body.replace(content=await self._objects.put(change.content))
        if text is None:
            raise InputRejected(
                f"document {change.document!r} is not UTF-8 text, and no object folder is reachable to send its "
                "bytes by reference; set MILLRACE_OBJECTS to the stack's object folder"
            )
        if len(change.content) > INLINE_MAX_BYTES:
            raise TooLarge(
                f"document {change.document!r} has {len(change.content)} bytes, at most {INLINE_MAX_BYTES} can be sent "
                "inline; set MILLRACE_OBJECTS to the stack's object folder"
            )
        return body.replace(text=text)


def canonical(groups: Collection[str]) -> tuple[str, ...]:
    """Groups sorted, each once.

    Raises
    ------
    InputRejected
        If one is empty.
    """
    found = (groups,) if isinstance(groups, str) else tuple(sorted(set(groups)))
    if "" in found:
        raise InputRejected("a group needs a name; got an empty one. Everyone in the tenant is '*'")
    return found


def named(groups: Collection[str]) -> tuple[str, ...]:
    """Groups that a caller gives a right to, as `canonical`.

    Raises
    ------
    InputRejected
        If one is empty, or is the name under which a right is withheld: nobody could give such a document back.
    """
    found = canonical(groups)
    if withheld := [group for group in found if is_withheld(group)]:
        raise InputRejected(
            f"a group cannot be called {withheld[0]!r}: {WITHDRAWN!r} begins what a person withdrew; name the group "
            f"itself, {withheld[0].removeprefix(WITHDRAWN)!r}"
        )
    return found


async def _all(pending: list[Awaitable[Origin]]) -> list[Origin]:
    return list(await asyncio.gather(*pending))


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def attributes_of(change: Change) -> dict[str, Value]:
    """What a span tells of a change that is written."""
    return {
        names.TENANT: change.tenant,
        names.MESSAGING_SYSTEM: "kafka",
        names.MESSAGING_DESTINATION: SOURCE_CHANGED.name,
        names.MEDIA_TYPE: change.media_type,
        names.BYTES: len(change.content or b""),
    }
