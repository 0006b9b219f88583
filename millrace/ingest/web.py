"""HTTP pages and feeds as a source."""

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import feedparser

from millrace.errors import Unreadable
from millrace.ingest.addresses import shown
from millrace.ingest.fetching import Answer, Fetcher
from millrace.ingest.memory import Memory, RememberingSource, Seen
from millrace.ingest.source import Document, Held
from millrace.ingest.walk import BINARY_TYPES, MEDIA_TYPES, UTF8_TYPES

MAX_ENTRIES: Final = 1000
_FEEDS: Final = frozenset({"application/rss+xml", "application/atom+xml", "application/rdf+xml"})
_MAYBE_FEEDS: Final = frozenset({"application/xml", "text/xml"})
_GONE: Final = frozenset({404, 410})
_AS_BROWSERS: Final = dict.fromkeys(("iso-8859-1", "latin1", "us-ascii", "ascii"), "windows-1252")
"""Names that servers give by habit, read as the Encoding Standard of the WHATWG says."""


class WebSource(RememberingSource):
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
        super().__init__(name, prefix, memory)
        self._urls = [_without_fragment(url) for url in urls]
        self._fetcher = fetcher
        self._max_bytes = max_bytes
        self._gone: set[str] = set()

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
        """Documents whose page answers 404 or 410; one that cannot be asked for is not lost.

        Servers that know no HEAD answer anything to it, so what they answer to GET counts.
        """
        self._gone = set()
        scheme = self._urls[0].partition("://")[0]
        for document in documents:
            if not document.startswith(self._prefix):
                continue
            known = self._memory.seen.get(document)
            url = known.url if known is not None and known.url else f"{scheme}://{document[len(self._prefix) :]}"
            if await self._is_gone(url, "HEAD") and await self._is_gone(url, "GET"):
                self._gone.add(document)
        return set(self._gone)

    async def close(self) -> None:
        """Close connections."""
        await self._fetcher.close()

    async def _is_gone(self, url: str, method: str) -> bool:
        try:
            return (await self._fetcher.fetch(url, self._max_bytes, method=method)).status in _GONE
        except Unreadable:
            return False

    async def _look(
        self, url: str, held: Held, stamp: str = "", *, is_listed: bool = False
    ) -> tuple[Document | None, dict[str, str]]:
        """A page that changed, or the links of a feed."""
        name = self._prefix + (shown(url).partition("://")[2] or url)
        if name in self._gone:  # just now: it is about to be deleted
            return None, {}
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
            self._skip(name, error.reason, str(error))
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
    try:
        # A file object, because feedparser would fetch or open what it takes for an address.
        feed = feedparser.parse(io.BytesIO(answer.body), sanitize_html=False, resolve_relative_uris=False)
    except Exception as error:  # strangers wrote it, and a parser may fail in any way
        raise Unreadable("broken", f"{answer.url} cannot be parsed: {type(error).__name__}") from error
    if not feed.version:
        if media_type in _MAYBE_FEEDS:
            return None
        raise Unreadable("broken", f"{answer.url} is no feed: {feed.get('bozo_exception', 'neither RSS nor Atom')}")
    links: dict[str, str] = {}
    for entry in feed.entries[:MAX_ENTRIES]:
        if link := entry.get("link", ""):
            links.setdefault(_absolute(answer.url, link), _stamp(entry))
    return links


def _absolute(base: str, link: str) -> str:
    """Address of an entry; what means nothing stays as it is, to be refused and reported like any other."""
    text = link.encode("utf-8", "replace").decode()
    try:
        return _without_fragment(urljoin(base, text))
    except ValueError:
        return text


def _without_fragment(url: str) -> str:
    return url.partition("#")[0]


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
    if media_type not in BINARY_TYPES and charset not in {"", "utf-8", "utf8"}:
        content = _decoded(answer.url, content, charset).encode()
    elif media_type in UTF8_TYPES:
        _decoded(answer.url, content, "utf-8")
    return Document(id=name, media_type=media_type, content=content, trust="untrusted")


def _decoded(url: str, content: bytes, charset: str) -> str:
    try:
        found = content.decode(_AS_BROWSERS.get(charset, charset))
        found.encode()
    except (LookupError, ValueError) as error:
        raise Unreadable("undecodable", f"{url} is not in its charset {charset!r}: {error}") from error
    return found


def _content_type(answer: Answer) -> tuple[str, str]:
    media_type, *parameters = answer.headers.get("content-type", "").split(";")
    charset = next((p.partition("=")[2] for p in parameters if p.strip().lower().startswith("charset=")), "")
    return media_type.strip().lower(), charset.strip(" \"'").lower()
