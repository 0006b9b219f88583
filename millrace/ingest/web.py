"""HTTP pages and feeds as a source."""

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urldefrag, urljoin, urlsplit

import feedparser

from millrace.errors import Unreadable
from millrace.ingest.fetching import Answer, Fetcher
from millrace.ingest.memory import Memory, Seen
from millrace.ingest.source import Document, Held, Skipped
from millrace.ingest.walk import MEDIA_TYPES

MAX_ENTRIES: Final = 1000
_FEEDS: Final = frozenset({"application/rss+xml", "application/atom+xml", "application/rdf+xml"})
_MAYBE_FEEDS: Final = frozenset({"application/xml", "text/xml"})
_GONE: Final = frozenset({404, 410})


class WebSource:
    """Pages, and the pages that feeds name.

    A page's id is its address without the scheme, as in ``example.com/leave.html``. What strangers write is untrusted.

    Parameters
    ----------
    urls : sequence of str
        Pages and feeds.
    fetcher : Fetcher
        Fetches them; closed with the source.
    memory : Memory
        Validators of earlier answers.
    name : str
        Name of the source; by default the host of the first address.
    prefix : str
        Put before each id, with a slash.
    """

    def __init__(
        self,
        urls: Sequence[str],
        fetcher: Fetcher,
        memory: Memory,
        *,
        name: str,
        prefix: str = "",
        max_bytes: int,
    ) -> None:
        self.name = name
        self.skipped: list[Skipped] = []
        self._urls = [urldefrag(url).url for url in urls]
        self._fetcher = fetcher
        self._memory = memory
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._max_bytes = max_bytes

    async def documents(self, held: Held) -> AsyncGenerator[Document, None]:
        """Pages that changed since the log took them, and the pages of feeds; a page is asked for only once."""
        self.skipped = []
        done: set[str] = set()
        for url in self._urls:
            document, links = await self._look(url, held)
            if document is not None:
                yield document
            done.add(url)
            for link, stamp in links.items():
                if link not in done:
                    done.add(link)
                    document, _ = await self._look(link, held, stamp, is_listed=True)
                    if document is not None:
                        yield document

    async def lost(self, documents: Collection[str]) -> set[str]:
        """Documents whose page answers 404 or 410; one that cannot be asked for is not lost."""
        lost = set()
        scheme = urlsplit(self._urls[0]).scheme
        for document in documents:
            if not document.startswith(self._prefix):
                continue
            known = self._memory.seen.get(document)
            url = known.url if known is not None and known.url else f"{scheme}://{document[len(self._prefix) :]}"
            try:
                answer = await self._fetcher.fetch(url, self._max_bytes, method="HEAD")
            except Unreadable:
                continue
            if answer.status in _GONE:
                lost.add(document)
        return lost

    async def commit(self) -> None:
        """Keep the validators."""
        self._memory.save()

    async def close(self) -> None:
        """Close connections."""
        await self._fetcher.close()

    async def _look(
        self, url: str, held: Held, stamp: str = "", *, is_listed: bool = False
    ) -> tuple[Document | None, dict[str, str]]:
        """A page that changed, or the links of a feed."""
        name = self._prefix + url.partition("://")[2]
        known = self._memory.seen.get(name, Seen())
        if not known.links:
            known = self._memory.held(name, held(name))
        if stamp and stamp == known.stamp:
            return Document(id=name, state="unchanged"), {}
        asks = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
        try:
            answer = await self._fetcher.fetch(url, self._max_bytes, {k: v for k, v in asks.items() if v})
            if answer.status == 304:
                return (None, known.links) if known.links else (Document(id=name, state="unchanged"), {})
            _check(answer)
            if not is_listed and (links := await asyncio.to_thread(_links, answer)) is not None:
                self._memory.seen[name] = _seen(url, answer, links=links)
                return None, links
            document = _document(name, answer)
        except Unreadable as error:
            self.skipped.append(Skipped(name, error.reason, str(error)))
            return None, {}
        self._memory.seen[name] = _seen(url, answer, stamp, document.content or b"")
        return document, {}


def _seen(url: str, answer: Answer, stamp: str = "", content: bytes = b"", links: dict[str, str] | None = None) -> Seen:
    return Seen(
        url=url,
        etag=answer.headers.get("etag", ""),
        last_modified=answer.headers.get("last-modified", ""),
        stamp=stamp,
        sha256=hashlib.sha256(content).hexdigest(),
        links=links or {},
    )


def _check(answer: Answer) -> None:
    if answer.status in _GONE:
        raise Unreadable("gone", f"{answer.url} answers {answer.status}; --sync deletes its document")
    if answer.status >= 300:
        raise Unreadable("status", f"{answer.url} answers {answer.status}; open it in a browser to see why")


def _links(answer: Answer) -> dict[str, str] | None:
    """Pages that a feed names, newest first as it says, each with when it changed; None for what is no feed."""
    media_type, _ = _content_type(answer)
    if media_type not in _FEEDS | _MAYBE_FEEDS:
        return None
    # A file object, because feedparser would fetch or open what it takes for an address.
    feed = feedparser.parse(io.BytesIO(answer.body), sanitize_html=False, resolve_relative_uris=False)
    if not feed.version:
        if media_type in _MAYBE_FEEDS:
            return None
        raise Unreadable("broken", f"{answer.url} is no feed: {feed.get('bozo_exception', 'neither RSS nor Atom')}")
    links: dict[str, str] = {}
    for entry in feed.entries[:MAX_ENTRIES]:
        if link := entry.get("link", ""):
            links.setdefault(urldefrag(urljoin(answer.url, link)).url, _stamp(entry))
    return links


def _stamp(entry: Any) -> str:
    return str(entry["updated"] if "updated" in entry else entry.get("published", ""))


def _document(name: str, answer: Answer) -> Document:
    media_type, charset = _content_type(answer)
    content = answer.body
    known = MEDIA_TYPES.get(PurePosixPath(urlsplit(answer.url).path).suffix.lower(), "")
    if media_type in {"", "application/octet-stream"} or (media_type == "text/plain" and known == "text/markdown"):
        media_type = known or media_type
    if media_type not in MEDIA_TYPES.values():
        raise Unreadable("type", f"{answer.url} is {media_type or 'of no type'}, which is not read")
    if (media_type.startswith("text/") or media_type == MEDIA_TYPES[".xhtml"]) and charset not in {"", "utf-8", "utf8"}:
        try:
            content = content.decode(charset).encode()
        except (LookupError, UnicodeError) as error:
            raise Unreadable("undecodable", f"{answer.url} is not in its charset {charset!r}: {error}") from error
    elif media_type in {"text/plain", "text/markdown"}:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise Unreadable("undecodable", f"{answer.url}: byte {error.start} is not UTF-8") from error
    return Document(id=name, media_type=media_type, content=content, trust="untrusted")


def _content_type(answer: Answer) -> tuple[str, str]:
    media_type, *parameters = answer.headers.get("content-type", "").split(";")
    charset = next((p.partition("=")[2] for p in parameters if p.strip().lower().startswith("charset=")), "")
    return media_type.strip().lower(), charset.strip(" \"'").lower()
