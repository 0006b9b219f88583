"""What was attributed lately, and how many attributions search at a time: in the memory of one process, bounded.

An attribution is a search over all that the asker could see. Most revisions of a poor answer change nothing of what it
looks at: another thumb, a comment, a later judgement of the same kind. For those the finding is said again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final

import msgspec
from millrace.events.learn import QualityScored, StageAttributed

NOT_LOOKED_AT: Final = frozenset({"revision", "score", "poor", "flags", "feedback", "n_dislikes", "corrected_by"})
"""Fields of QualityScored that no rule reads; a field that is added counts as read until it stands here."""
AT_ONCE: Final = 4
"""Each holds the rows of up to `max_searched_chunks` chunks, about 10 kB each, and all compute in one thread."""
_MOST: Final = 4_096
_FIELDS: Final = tuple(name for name in QualityScored.__struct_fields__ if name not in NOT_LOOKED_AT)

Answer = tuple[str, str, str]
"""Tenant, conversation and correlation id."""


class Attributions:
    """The last finding of each of the answers that were attributed last, about 2 kB each.

    What is not known any more, after a restart or among too many answers, is searched for once more. One answer is
    attributed by one worker at a time, for its conversation is one key.

    Parameters
    ----------
    most : int
        Answers that are remembered; those that were not asked for longest go first.
    at_once : int
        Attributions that search at a time.

    Attributes
    ----------
    turn : asyncio.Semaphore
        Held while searching.
    """

    def __init__(self, *, most: int = _MOST, at_once: int = AT_ONCE) -> None:
        self.turn = asyncio.Semaphore(at_once)
        self._most = most
        self._known: OrderedDict[Answer, tuple[bytes, StageAttributed]] = OrderedDict()

    def __len__(self) -> int:
        """How many answers are remembered."""
        return len(self._known)

    def of(self, scored: QualityScored) -> StageAttributed | None:
        """The finding, for this revision, if an earlier one had all the same to look at; without metadata."""
        known = self._known.get(_answer(scored))
        if known is None or known[0] != looked_at(scored):
            return None
        self._known.move_to_end(_answer(scored))
        return msgspec.structs.replace(known[1], revision=scored.revision)

    def keep(self, scored: QualityScored, found: StageAttributed) -> None:
        """Remember what was found; it takes the place of what was known of the answer."""
        self._known[_answer(scored)] = looked_at(scored), found
        self._known.move_to_end(_answer(scored))
        while len(self._known) > self._most:
            self._known.popitem(last=False)


def looked_at(scored: QualityScored) -> bytes:
    """Digest of all that an attribution may look at."""
    fields = [getattr(scored, name) for name in _FIELDS]
    return hashlib.blake2b(msgspec.msgpack.encode(fields, order="deterministic"), digest_size=16).digest()


def _answer(scored: QualityScored) -> Answer:
    return scored.tenant, scored.conversation, scored.correlation
