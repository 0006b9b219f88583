"""Which version of a document counts and who may read it: the fold, without I/O.

A `Document` is immutable; folding a record gives the next one, or None when the record changes nothing. The same
functions make the current state, the state as of an earlier watermark, and the state restored from a file.
"""

from collections.abc import Collection, Mapping

import msgspec

from millrace.events.corpus import Order

# gc=False below: there is one of each for every document, none is part of a cycle.

NOBODY: frozenset[str] = frozenset()


class Version(msgspec.Struct, frozen=True, gc=False):
    """One folded DocumentIndexed, without its chunks.

    Attributes
    ----------
    row : int
        Its row in the table's file.
    offset, partition : int
        Where it stands in the log.
    order : tuple of int
        Decides which version is newer.
    deleted : bool
        Whether the document is gone from this order on.
    acl_version : int
        Access version that must be known before this version counts; 0 for none.
    n_chunks : int
        How many chunks it lists.
    labels : mapping
        Labels to filter by.
    """

    row: int
    offset: int
    partition: int
    order: Order
    deleted: bool = False
    acl_version: int = 0
    n_chunks: int = 0
    labels: Mapping[str, str] = {}

    @property
    def precedence(self) -> tuple[Order, int, int]:
        """The higher one wins: order first, then the later record."""
        return (self.order, self.offset, self.partition)


class Access(msgspec.Struct, frozen=True, gc=False):
    """One folded AclChanged."""

    row: int
    offset: int
    partition: int
    version: int
    groups: frozenset[str]

    @property
    def precedence(self) -> tuple[int, int, int]:
        """The higher one wins: access version first, then the later record."""
        return (self.version, self.offset, self.partition)


class Document(msgspec.Struct, frozen=True, gc=False):
    """What is known of a document.

    Attributes
    ----------
    versions : tuple of Version
        Newest first. The last one is the effective version, unless all of them wait for access.
    access : Access or None
        Who may read it; None is nobody.
    effective : Version or None
        The version that counts now: the newest one that is deleted or whose access version is known.
    readers : frozenset of str
        Groups that see the effective version; empty when it is deleted, missing or without access.
    """

    versions: tuple[Version, ...] = ()
    access: Access | None = None
    effective: Version | None = None
    readers: frozenset[str] = NOBODY

    @property
    def newest(self) -> Version | None:
        """Version of the highest order, effective or not."""
        return self.versions[0] if self.versions else None


UNKNOWN = Document()


def fold_version(document: Document, version: Version) -> Document | None:
    """Fold a DocumentIndexed.

    Returns
    -------
    Document or None
        None when the record is stale: it is listed nowhere.
    """
    newest = document.newest
    if newest is not None and version.precedence <= newest.precedence:
        return None
    return _settle((version, *document.versions), document.access)


def fold_access(document: Document, access: Access) -> Document | None:
    """Fold an AclChanged; None when the record is stale."""
    if document.access is not None and access.precedence <= document.access.precedence:
        return None
    return _settle(document.versions, access)


def _settle(versions: tuple[Version, ...], access: Access | None) -> Document:
    """Find the effective version and forget those below it: access versions only grow, so they never count again."""
    known = access.version if access is not None else 0
    for i, version in enumerate(versions):
        if version.deleted or version.acl_version <= known:
            readers = NOBODY if version.deleted or access is None else access.groups
            return Document(versions[: i + 1], access, version, readers)
    return Document(versions, access)


def matches(document: Document, groups: Collection[str], labels: Collection[tuple[str, str]]) -> bool:
    """Say whether the effective version is visible to a member of `groups` who asks for `labels`."""
    return not document.readers.isdisjoint(groups) and _labelled(document, labels)


def why_hidden(document: Document, groups: Collection[str], labels: Collection[tuple[str, str]]) -> str | None:
    """Reason why a document is not visible: forbidden, deleted or filtered; None when it is.

    Access is judged first, so that whoever may not read a document does not learn whether it was deleted.
    """
    access, effective = document.access, document.effective
    if access is None or effective is None or access.groups.isdisjoint(groups):
        return "forbidden"
    if effective.deleted:
        return "deleted"
    return None if _labelled(document, labels) else "filtered"


def _labelled(document: Document, labels: Collection[tuple[str, str]]) -> bool:
    if not labels or document.effective is None:
        return not labels
    found = document.effective.labels
    return all(found.get(name) == value for name, value in labels)
