"""What one principal may see at one watermark."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from millrace.events.corpus import DocumentIndexed
from streams.visibility.fold import UNKNOWN, Document, why_hidden
from streams.visibility.tenants import Groups, Labels
from streams.visibility.versions import Versions


class VisibleSet:
    """A snapshot: later records do not change it.

    Parameters
    ----------
    watermark : str
        The watermark it holds for.
    principal : tuple
        Groups of the principal and labels asked for.
    documents : mapping
        All documents of the tenant.
    selected : mapping
        Number of chunks of each visible document.
    n_chunks : int
        Their sum.
    """

    def __init__(
        self,
        watermark: str,
        principal: tuple[Groups, Labels],
        documents: Mapping[str, Document],
        selected: tuple[Mapping[str, int], int],
        versions: Versions,
    ) -> None:
        self._watermark = watermark
        self._groups, self._labels = principal
        self._documents = documents
        self._members, self._n_chunks = selected
        self._versions = versions

    @property
    def watermark(self) -> str:
        """The watermark it holds for."""
        return self._watermark

    @property
    def n_documents(self) -> int:
        """How many documents it holds."""
        return len(self._members)

    @property
    def n_chunks(self) -> int:
        """How many chunks it holds."""
        return self._n_chunks

    def documents(self) -> Collection[str]:
        """Ids of its documents."""
        return self._members.keys()

    def get(self, document: str) -> DocumentIndexed | None:
        """Visible version of a document, or None."""
        row = self.row(document)
        return None if row is None else self._versions.get(row)

    def row(self, document: str) -> int | None:
        """Number of a document's visible version, which no other version ever has; None where it is not visible."""
        effective = self._documents[document].effective if document in self._members else None
        return None if effective is None else effective.row

    def why_not(self, document: str, chunk_id: str) -> str | None:
        """None when the chunk is visible, else deleted, superseded, forbidden or filtered."""
        known = self._documents.get(document, UNKNOWN)
        if document not in self._members:
            return why_hidden(known, self._groups, self._labels) or "forbidden"
        effective = known.effective
        listed = effective is not None and self._versions.lists(effective.row, chunk_id)
        return None if listed else "superseded"
