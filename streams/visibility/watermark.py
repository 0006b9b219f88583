"""Watermarks: how far the two visibility topics were folded, as short text.

``<epoch>/i:0=12,3=5;a:0=3`` means: in the life of the log named ``<epoch>``, records of ``corpus.document.indexed.v1``
below offset 12 of partition 0 and 5 of partition 3 were folded, and of ``corpus.acl.changed.v1`` below 3 of partition
0. Partitions of which nothing was folded are left out. The empty text is the beginning of any log.
"""

import hashlib
from collections.abc import Mapping

from millrace.errors import InvalidEvent
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED

Offsets = Mapping[tuple[str, int], int]
"""Next offset to fold by (topic, partition)."""

_TOPICS = {"i": DOCUMENT_INDEXED.name, "a": ACL_CHANGED.name}


def epoch_tag(log_epoch: str) -> str:
    """Eight hex digits that name a life of the log."""
    return hashlib.sha256(log_epoch.encode()).hexdigest()[:8]


def render(tag: str, offsets: Offsets) -> str:
    """Text of a watermark; topics other than the two visibility topics are left out."""
    parts = []
    for letter, topic in _TOPICS.items():
        found = sorted((p, n) for (name, p), n in offsets.items() if name == topic and n > 0)
        if found:
            parts.append(f"{letter}:" + ",".join(f"{p}={n}" for p, n in found))
    return f"{tag}/" + ";".join(parts)


def parse(text: str) -> tuple[str, dict[tuple[str, int], int]]:
    """Epoch tag and next offsets of a watermark.

    Raises
    ------
    InvalidEvent
        If the text is no watermark.
    """
    if not text:
        return "", {}
    tag, slash, rest = text.partition("/")
    offsets: dict[tuple[str, int], int] = {}
    try:
        if not slash:
            raise ValueError
        for part in filter(None, rest.split(";")):
            letter, pairs = part.split(":")
            for pair in pairs.split(","):
                partition, next_offset = pair.split("=")
                offsets[_TOPICS[letter], int(partition)] = int(next_offset)
    except (ValueError, KeyError) as error:
        raise InvalidEvent(
            f"watermark {text[:80]!r} cannot be read; expected <epoch>/i:<partition>=<offset>,...;a:..., "
            "send back what a reply carried, unchanged"
        ) from error
    return tag, offsets


def reached(folded: Offsets, wanted: Offsets) -> bool:
    """Whether everything below `wanted` has been folded."""
    return all(folded.get(at, 0) >= n for at, n in wanted.items())


def before(offset: int, topic: str, partition: int, watermark: Offsets) -> bool:
    """Whether a record lies below a watermark."""
    return offset < watermark.get((topic, partition), 0)
