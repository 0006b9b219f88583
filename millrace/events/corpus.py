"""Events about documents, their chunks, who may read them, and upkeep."""

from typing import Annotated, ClassVar, Literal

import msgspec

from millrace.event import Event

Order = tuple[int, int, int]
"""``(source_epoch, version, pipeline_generation)`` of a document's version."""


def parse_order(text: str) -> Order:
    """Read an order from its text, ``<source_epoch>.<version>.<pipeline_generation>``.

    Raises
    ------
    ValueError
        If the text is no order.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError(f"order {text!r} is not <source_epoch>.<version>.<pipeline_generation>, such as 0.7.1")
    return (int(parts[0]), int(parts[1]), int(parts[2]))


def render_order(order: Order) -> str:
    """Text of an order, as `parse_order` reads it."""
    return ".".join(map(str, order))


class _DocumentEvent(Event, frozen=True, kw_only=True):
    """What every event about one document names."""

    namespace: ClassVar[str] = "millrace.corpus"

    tenant: Annotated[str, "Tenant that owns the document."]
    document: Annotated[str, "Document id within the tenant; for files the path relative to the folder."]


class _VersionEvent(_DocumentEvent, frozen=True, kw_only=True):
    """What every event about one version of a document names: its order."""

    source_epoch: Annotated[int, "Grows when a source starts its versions anew."] = 0
    version: Annotated[int, "Monotone per document, owned by the source adapter."]
    pipeline_generation: Annotated[int, "Generation of parser, splitter and model that handled the version."] = 0

    @property
    def order(self) -> Order:
        """The only thing that decides which version is newer."""
        return (self.source_epoch, self.version, self.pipeline_generation)


class SourceChanged(_VersionEvent, frozen=True, kw_only=True):
    """A source document was written or removed."""

    source: Annotated[str, "Name of the source that owns the document's versions."] = "app"
    op: Annotated[Literal["upsert", "delete"], "What happened."] = "upsert"
    media_type: Annotated[str, "Media type of the content."] = "text/markdown"
    text: Annotated[str | None, "Content inline, up to 256 kB; null when it is in the object store."] = None
    content: Annotated[str | None, "Object store reference, sha256:<hex>; null when inline or deleted."] = None
    n_bytes: Annotated[int, "Size of the content in bytes."] = 0
    title: Annotated[str, "Title where the source knows one; empty to take it from the content."] = ""
    labels: Annotated[dict[str, str], "Labels to filter by."] = {}
    trust: Annotated[Literal["trusted", "untrusted"], "Trust tier of the source."] = "trusted"
    acl_version: Annotated[int, "Access version that must be known before this version is visible; 0 for none."] = 0


class ChunksEmbedded(_VersionEvent, frozen=True, kw_only=True):
    """One part of a version's new chunks is embedded and stands in the object store."""

    part: Annotated[int, "Number of this part, from 0."]
    n_parts: Annotated[int, "How many parts the version has."]
    model: Annotated[str, "Embedding model, with version and quantization."]
    rows: Annotated[str | None, "Object with texts, vectors and sentence vectors of the part; null when it is empty."]
    manifest: Annotated[
        str, "Object with the whole version: its DocumentIndexed, encoded, without counts of the store."
    ]
    trust: Annotated[
        str, "Trust tier of the source; versions of untrusted ones are scanned before they are visible."
    ] = "trusted"
    cleared: Annotated[bool, "Whether this repeats the last part of an untrusted version after its scan."] = False

    def slot(self) -> str:
        """Parts are told apart by their number."""
        return str(self.part)


class ChunkRef(msgspec.Struct, frozen=True, array_like=False):
    """Where one chunk of a version stands."""

    id: Annotated[str, "Chunk id: stays from version to version while the text stays."]
    start: Annotated[int, "First character in the parsed text of the version."]
    end: Annotated[int, "Character after the last one."]
    heading: Annotated[int, "Index into headings."]
    object: Annotated[int, "Index into objects: where text and vector are kept."]


class DocumentIndexed(_VersionEvent, frozen=True, kw_only=True):
    """A version is complete in the index, or the document is deleted: this one record makes it visible."""

    deleted: Annotated[bool, "Whether the document is gone from this order on."] = False
    title: Annotated[str, "Title shown with citations."] = ""
    labels: Annotated[dict[str, str], "Labels to filter by."] = {}
    trust: Annotated[str, "Trust tier of the source."] = "trusted"
    acl_version: Annotated[int, "Access version that must be known before this version is visible; 0 for none."] = 0
    content_sha256: Annotated[str, "Digest of the source content, hex."] = ""
    text: Annotated[str | None, "Object with the parsed text that spans point into."] = None
    model: Annotated[str, "Embedding model."] = ""
    headings: Annotated[tuple[str, ...], "Distinct heading paths."] = ()
    objects: Annotated[tuple[str, ...], "Distinct objects that hold rows of this version."] = ()
    chunks: Annotated[tuple[ChunkRef, ...], "Chunks in reading order."] = ()
    n_embedded: Annotated[int, "Chunks embedded for this version."] = 0
    n_reused: Annotated[int, "Chunks kept from the version before, or vectors taken by content hash."] = 0
    n_retired: Annotated[int, "Chunks of the version before that this one no longer lists."] = 0
    source: Annotated[str, "Name of the source."] = ""
    source_event: Annotated[str, "Id of the SourceChanged."] = ""
    source_position: Annotated[str, "topic/partition/offset of the SourceChanged."] = ""
    language: Annotated[str, "Main language of the text, BCP 47; empty where it is too short to say."] = ""
    removed: Annotated[dict[str, int], "What parsing took out, by kind, such as hidden or zero_width."] = {}
    source_map: Annotated[
        str | None, "Object with the way from the text back into the source; null where they are the same."
    ] = None


class DocumentSettled(_VersionEvent, frozen=True, kw_only=True):
    """A change ended without changing anything visible."""

    outcome: Annotated[Literal["unchanged", "superseded", "rejected", "failed"], "How it ended."]
    reason: Annotated[str, "Bounded error type or short reason."] = ""
    message: Annotated[str, "What, which, found against allowed, remedy; no content of the document."] = ""
    source: Annotated[str, "Name of the source."] = ""
    source_event: Annotated[str, "Id of the SourceChanged."] = ""
    source_position: Annotated[str, "topic/partition/offset of the SourceChanged."] = ""


class AclChanged(_DocumentEvent, frozen=True, kw_only=True):
    """The groups that may read a document changed; nothing is embedded again."""

    version: Annotated[int, "Monotone per document, apart from content versions."]
    groups: Annotated[tuple[str, ...], "Groups that may read; * is everyone in the tenant, none is nobody."]


class MaintenanceDue(_DocumentEvent, frozen=True, kw_only=True):
    """Time has passed for a document: rows that no retained version lists may go."""

    at_us: Annotated[int, "The time to act as of, microseconds since the epoch."]
    before_order: Annotated[str, "Versions superseded at or before this order have passed the retention."] = ""


class StatisticsComputed(Event, frozen=True, kw_only=True):
    """Term statistics of a tenant's corpus, for scores that do not depend on a store's running counts."""

    namespace: ClassVar[str] = "millrace.corpus"

    tenant: Annotated[str, "Tenant described."]
    epoch: Annotated[int, "Grows with each computation."]
    n_chunks: Annotated[int, "Chunks counted."]
    mean_tokens: Annotated[float, "Mean length of a chunk in lexical terms."]
    frequencies: Annotated[str, "Object with the document frequency of each term."]
