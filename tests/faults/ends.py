"""How questions ended, judged from the reply topic alone (I6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from millrace.codec import Codec
from millrace.events.query import AnswerCompleted, AnswerFailed, AnswerRetracted
from tests.faults.log_access import Raw

RETRACTED = "retracted"
_CODEC = Codec()


class End(NamedTuple):
    """What a terminal frame tells its asker, and the passages that it shows."""

    told: str
    shown: frozenset[str] = frozenset()


def ends_of(replies: Iterable[Raw], tenants: Collection[str], codec: Codec = _CODEC) -> dict[str, list[End]]:
    """Terminal frames by correlation id, in the order of the topic.

    A frame that was written twice counts once. The number of an attempt and timings are not what an asker is told.
    """
    found: dict[str, list[End]] = defaultdict(list)
    known: set[str] = set()
    for raw in replies:
        if raw.header("ce_tenant") not in tenants or raw.header("ce_id") in known:
            continue
        frame = codec.decode(raw.value)
        if isinstance(frame, AnswerCompleted):
            told = f"completed: {frame.text!r} {frame.found} {frame.citations} at {frame.watermark}"
            end = End(told, frozenset(f"{hit.chunk_id} of {hit.document} {hit.version}" for hit in frame.hits))
        elif isinstance(frame, AnswerFailed):
            end = End(f"failed: {frame.error_type} {frame.message!r}")
        elif isinstance(frame, AnswerRetracted):
            end = End(RETRACTED)
        else:
            continue
        known.add(raw.header("ce_id"))
        found[frame.correlation].append(end)
    return found


def broken_ends(asked: Iterable[str], ends: Mapping[str, Sequence[End]]) -> list[str]:
    """Questions without an end, and questions whose later frame says something else than the first, which counts.

    What may not be seen any more when a frame is sent again is left out of it, or the answer is taken back.
    """
    missing = [f"question {name} has no terminal frame" for name in asked if name not in ends]
    return missing + [
        f"question {name} ends once more, otherwise: {first}, then {later}"
        for name, (first, *others) in ends.items()
        for later in others
        if later.told != RETRACTED and (later.told != first.told or not later.shown <= first.shown)
    ]
