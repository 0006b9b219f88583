"""Find the chunks that hold a question's answer, from the log: which chunks of the right documents are right."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from millrace.connection import Connection
from millrace.errors import ConfigurationError
from millrace.evaluation.questions import KnownQuestion, Span
from millrace.evaluation.text_match import holds
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import Citation
from millrace.keys import document_key
from millrace.objects import ObjectFolder
from millrace.parsed import SourceMap, decode_map
from millrace.reader import read
from millrace.topics import DOCUMENT_INDEXED

_WHOLE: Final[Span] = (0, 1 << 62)
Name = tuple[str, str]
"""Tenant and document."""


class GoldDocument:
    """The newest version of a right document, as the index has it.

    Parameters
    ----------
    version : DocumentIndexed
        The version.
    objects : ObjectFolder, optional
        Where its text and its way back into the source are kept.
    """

    def __init__(self, version: DocumentIndexed, objects: ObjectFolder | None) -> None:
        self._version = version
        self._objects = objects
        self._map: SourceMap | None = None
        self._text: str | None = None

    def right_chunks(self, spans: Sequence[Span], answers: Sequence[str]) -> frozenset[str]:
        """Chunks that overlap one of `spans`; without any, those that hold one of `answers`; without any, all."""
        chunks = self._version.chunks
        if spans:
            return frozenset(chunk.id for chunk in chunks if self.overlaps(chunk.start, chunk.end, spans))
        if answers:
            text = self._parsed_text()
            return frozenset(chunk.id for chunk in chunks if holds(text[chunk.start : chunk.end], answers))
        return frozenset(chunk.id for chunk in chunks)

    def overlaps(self, start: int, end: int, spans: Sequence[Span]) -> bool:
        """Whether characters of the parsed text stand where one of `spans` of the source is."""
        place = self._in_source(start, end)
        return place is not None and any(place[0] < span[1] and span[0] < place[1] for span in spans)

    def _in_source(self, start: int, end: int) -> Span | None:
        if self._version.source_map is None:
            return start, end
        if self._map is None:
            self._map = decode_map(self._object(self._version.source_map))
        return self._map.span(start, end) if self._map.encoding else (start, end)

    def _parsed_text(self) -> str:
        if self._text is None:
            self._text = self._object(self._version.text).decode() if self._version.text else ""
        return self._text

    def _object(self, reference: str) -> bytes:
        if self._objects is None:
            raise ConfigurationError(
                f"{self._version.document!r} can only be judged with its text at hand, and the object folder of this "
                "stack is not known here; name it with --objects or MILLRACE_OBJECTS"
            )
        return self._objects.get_sync(reference)


class Gold:
    """Right documents by name, as far as the index has them."""

    def __init__(self, documents: dict[Name, GoldDocument]) -> None:
        self._documents = documents

    def __contains__(self, name: Name) -> bool:
        return name in self._documents

    def right_chunks(self, question: KnownQuestion, tenant: str) -> dict[str, frozenset[str]]:
        """Ids of right chunks by document.

        Raises
        ------
        ConfigurationError
            The object store is needed and not known.
        """
        found = {}
        for document, spans in question.gold.items():
            if indexed := self._documents.get((tenant, document)):
                found[document] = indexed.right_chunks(spans, question.answers or ())
        return found

    def right_quotes(self, question: KnownQuestion, tenant: str, citations: Iterable[Citation]) -> tuple[int, ...]:
        """Places of right quotes, from 1: those on one of the spans, or, without spans, that hold an answer."""
        gold = question.gold
        places = []
        for place, citation in enumerate(citations, 1):
            spans = gold.get(citation.document)
            indexed = self._documents.get((tenant, citation.document))
            if spans is None or indexed is None:
                continue
            if spans:
                right = indexed.overlaps(citation.start, citation.end, spans)
            else:
                right = not question.answers or holds(citation.quote, question.answers)
            if right:
                places.append(place)
        return tuple(places)


def read_gold(connection: Connection, names: Collection[Name]) -> Gold:
    """Read the newest versions of documents from the log; those that it does not have, or deleted, are left out.

    Raises
    ------
    Unavailable, LogTruncated, ConfigurationError
        See `millrace.reader.LogReader`.
    """
    wanted = set(names)
    newest: dict[Name, DocumentIndexed] = {}
    if wanted:
        keys = {document_key(*name) for name in wanted}
        for event in read(connection, [DOCUMENT_INDEXED], keys=keys):
            if not isinstance(event, DocumentIndexed):
                continue
            name = (event.tenant, event.document)
            if name in wanted and (name not in newest or event.order >= newest[name].order):
                newest[name] = event
    folder = connection.objects_folder
    objects = ObjectFolder(folder) if folder is not None else None
    return Gold({name: GoldDocument(event, objects) for name, event in newest.items() if not event.deleted})


def fixed_gold(versions: Iterable[DocumentIndexed], objects: ObjectFolder | None = None) -> Gold:
    """Gold of versions at hand, without a log."""
    return Gold({(event.tenant, event.document): GoldDocument(event, objects) for event in versions})
