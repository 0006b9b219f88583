"""What this process has sent out and may not have seen folded yet: the adapter of the `Emitted` port."""

from collections import OrderedDict

from agents.ports import EmittedVersion


class EmittedVersions:
    """Newest version per agent and document, in memory; the least recently used go first.

    Parameters
    ----------
    max_documents : int, default 4096
        How many to keep: more than the versions that can be in flight between an agent and the visibility table.

    Notes
    -----
    Losing an entry costs at most new ids for text that a version in flight introduced; what is visible stays right,
    because the order of versions decides.
    """

    def __init__(self, max_documents: int = 4_096) -> None:
        self._max = max_documents
        self._kept: OrderedDict[tuple[str, str, str], EmittedVersion] = OrderedDict()

    def newest(self, agent: str, tenant: str, document: str) -> EmittedVersion | None:
        """Newest version that `agent` emitted, if it is still known."""
        return self._kept.get((agent, tenant, document))

    def remember(self, agent: str, tenant: str, document: str, emitted: EmittedVersion) -> None:
        """Keep a version unless a newer one is kept."""
        key = (agent, tenant, document)
        known = self._kept.get(key)
        if known is None or known.order <= emitted.order:
            self._kept[key] = emitted
            self._kept.move_to_end(key)
        while len(self._kept) > self._max:
            self._kept.popitem(last=False)
