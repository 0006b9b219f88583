"""Text and place of retrieved chunks: a hit names a chunk, its version's record says where in the text it stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.library import Passage
from millrace.errors import ObjectMissing
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import Hit

MAX_HITS: Final = 100


async def passages_of(
    hits: Sequence[Hit],
    version_of: Callable[[Hit], DocumentIndexed | None],
    get: Callable[[str], Awaitable[bytes]],
) -> list[Passage]:
    """Passages of hits, in their order; those of versions that are not kept, or that were erased, are left out.

    Parameters
    ----------
    version_of : callable
        Version that a hit names, where it may be read.
    get : callable
        Reads parsed texts; each is read once.
    """
    texts: dict[str, str | None] = {}
    found = []
    for hit in hits[:MAX_HITS]:
        version = version_of(hit)
        if version is None or version.text is None:
            continue
        chunk = next((chunk for chunk in version.chunks if chunk.id == hit.chunk_id), None)
        if chunk is None:
            continue
        if version.text not in texts:
            texts[version.text] = await _text(version.text, get)
        text = texts[version.text]
        if text is None:
            continue
        heading = version.headings[chunk.heading] if chunk.heading < len(version.headings) else ""
        found.append(
            Passage(
                document=hit.document,
                version=hit.version,
                chunk_id=hit.chunk_id,
                title=version.title,
                heading=heading,
                start=chunk.start,
                end=chunk.end,
                text=text[chunk.start : chunk.end],
            )
        )
    return found


async def _text(reference: str, get: Callable[[str], Awaitable[bytes]]) -> str | None:
    try:
        return (await get(reference)).decode("utf-8", "replace")
    except ObjectMissing:
        return None
