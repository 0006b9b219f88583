"""The records of a question or a document as a tree: each under the one that caused it, with the time between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from millrace.lineage import Entry


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One record in the tree, in the order in which it is read: parents first, siblings by time.

    Attributes
    ----------
    id, causation_id, position : str
        The record, see `millrace.lineage.Entry`.
    depth : int
        How many causes lie above it.
    last : tuple of bool
        For itself and each cause below the root, from the top: whether it is the last of its siblings.
    at_ms : int
        Milliseconds since the first record.
    hop_ms : int or None
        Milliseconds since its cause, by the broker's clock; None for a root.
    """

    id: str
    position: str
    causation_id: str
    type: str
    depth: int
    last: tuple[bool, ...]
    at_ms: int
    hop_ms: int | None

    @property
    def branch(self) -> str:
        """What is drawn before it."""
        if not self.last:
            return ""
        *above, own = self.last
        return "".join("  " if end else "│ " for end in above) + ("└ " if own else "├ ")


def hops(entries: Sequence[Entry]) -> list[tuple[Hop, Entry]]:
    """Entries as a tree. What has no cause among them is a root; a circle, which no agent makes, is cut open."""
    if not entries:
        return []
    start_ms = min(entry.timestamp_ms for entry in entries)
    first = {entry.id: entry for entry in reversed(entries) if entry.id}
    below: dict[str, list[Entry]] = defaultdict(list)
    roots: list[Entry] = []
    for entry in entries:
        cause = first.get(entry.causation_id)
        (roots if cause is None or cause is entry else below[entry.causation_id]).append(entry)
    found: list[tuple[Hop, Entry]] = []
    seen: set[int] = set()

    def visit(entry: Entry, cause: Entry | None, last: tuple[bool, ...]) -> None:
        if id(entry) in seen:
            return
        seen.add(id(entry))
        hop_ms = None if cause is None else entry.timestamp_ms - cause.timestamp_ms
        hop = Hop(
            id=entry.id,
            position=entry.position,
            causation_id=entry.causation_id,
            type=entry.type,
            depth=len(last),
            last=last,
            at_ms=entry.timestamp_ms - start_ms,
            hop_ms=hop_ms,
        )
        found.append((hop, entry))
        children = below[entry.id] if first.get(entry.id) is entry else []
        for child in children:
            visit(child, entry, (*last, child is children[-1]))

    for root in roots:
        visit(root, None, ())
    for entry in entries:
        visit(entry, None, ())
    return found
