"""Who may read a new document where nobody says so: never more than may read what it seems to come from."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from millrace.errors import InputRejected
from millrace.groups import EVERYONE
from millrace.ingest.known import KnownDocument
from millrace.withdrawal import restored

Groups = tuple[str, ...]


class UnclearGroups(InputRejected):
    """Nothing says who may read a document."""

    error_type = "groups"


class Inheritance:
    """Groups of documents that have none yet, from what the log held of their source when the run began.

    A file that is renamed or copied is a new document to the log. So it gets the groups of the document of its source
    that says the same; otherwise those of all documents of its source, where they have the same ones; and those of the
    connection only where its source is new, or holds something that these groups may read already.

    Parameters
    ----------
    known : iterable of KnownDocument
        Documents of the tenant.
    default : tuple of str
        Groups of the connection.
    """

    def __init__(self, known: Iterable[KnownDocument], default: Groups) -> None:
        self._default = default
        self._same: dict[tuple[str, str], set[Groups]] = defaultdict(set)
        here: dict[str, set[Groups]] = defaultdict(set)
        gone: dict[str, set[Groups]] = defaultdict(set)
        for document in known:
            if document.source and document.groups is not None:
                (here if document.exists else gone)[document.source].add(restored(document.groups))
                if document.exists and document.sha256:
                    # A copy of what was withdrawn is withdrawn: a new name does not give it back.
                    self._same[document.source, document.sha256].add(document.groups)
        self._of_source = {**gone, **here}  # deleted documents speak for a source that holds no others

    def groups(self, source: str, sha256: str) -> Groups:
        """Groups of a new document.

        Raises
        ------
        UnclearGroups
            Those of the connection would let more people read it than may read anything of its source, and the
            documents of the source do not agree on others.
        """
        for found in (self._same.get((source, sha256), set()), self._of_source.get(source, set())):
            if any(_covers(groups, self._default) for groups in found):
                return self._default
            if len(found) == 1:
                return next(iter(found))
            if found:
                shown = "; ".join(sorted(",".join(groups) or "nobody" for groups in found)[:5])
                raise UnclearGroups(
                    f"it is new, and documents of source {source!r} are for different groups ({shown}), none of them "
                    f"for {','.join(self._default)}; say whom it is for: --groups"
                )
        return self._default


def _covers(groups: Collection[str], others: Collection[str]) -> bool:
    return EVERYONE in groups or set(others) <= set(groups)
