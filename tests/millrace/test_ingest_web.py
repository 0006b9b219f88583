"""Laws about pages and feeds as a source, with a server of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import ConfigurationError
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion, Report
from millrace.ingest.watch import Watch
from tests.conditions import until
from tests.millrace.web_server import Page, WebServer
from tests.millrace.workers import indexed, indexing, settled

LEAVE = "<html><head><title>Leave</title></head><body><p>Sixteen weeks.</p></body></html>"


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with WebServer() as found:
        found.pages["/leave.html"] = Page(LEAVE)
        found.pages["/travel.html"] = Page("<p>140 euros.</p>")
        yield found


def rss(server: WebServer, *items: tuple[str, str]) -> Page:
    entries = "".join(
        f"<item><title>t</title><link>{server.url(path)}</link><pubDate>{date}</pubDate></item>" for path, date in items
    )
    body = f'<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>{entries}</channel></rss>'
    return Page(body, "application/rss+xml")


async def ingest(connection: Connection, tenant: str, memory: Path | None, *urls: str, **plan: Any) -> Report:
    made = {"wait": True, "allowed": ("127.0.0.1",), "memory": memory, **plan}
    async with Millrace(connection) as client:
        return await Ingestion(client, Plan(paths=urls, tenant=tenant, **made)).run()


def files(memory: Path) -> list[Path]:
    return list(memory.glob("*.json"))


async def test_pages_become_untrusted_documents_by_their_address(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    server.pages["/notes.md"] = Page("# Notes", "text/plain; charset=utf-8")
    server.pages["/old.txt"] = Page("Zürich".encode("latin-1"), "text/plain; charset=ISO-8859-1")
    server.pages["/quote.html"] = Page("<p>\x93Quoted\x94</p>".encode("latin-1"), "text/html; charset=ISO-8859-1")
    body = "<?xml version='1.0' encoding='utf-8'?><p>łódź</p>".encode("iso-8859-2")
    server.pages["/city.xhtml"] = Page(body, 'application/xhtml+xml; charset="iso-8859-2"')
    server.pages["/find?q=a b"] = server.pages["/find?q=a%20b"] = Page("<p>found</p>")
    paths = ("/leave.html#top", "/notes.md", "/old.txt", "/quote.html", "/city.xhtml", "/find?q=a%20b")
    urls = [server.url(path) for path in paths]
    with indexing(embedded, tenant) as worker:
        report = await ingest(embedded, tenant, tmp_path, *urls)
    host = f"127.0.0.1:{server.port}"
    assert {c.document: (c.text, c.media_type, c.trust, c.source) for c in worker.seen} == {
        f"{host}/leave.html": (LEAVE, "text/html", "untrusted", "127.0.0.1"),
        f"{host}/notes.md": ("# Notes", "text/markdown", "untrusted", "127.0.0.1"),
        f"{host}/old.txt": ("Zürich", "text/plain", "untrusted", "127.0.0.1"),
        f"{host}/quote.html": ("<p>“Quoted”</p>", "text/html", "untrusted", "127.0.0.1"),
        f"{host}/city.xhtml": (
            "<?xml version='1.0' encoding='utf-8'?><p>łódź</p>",
            "application/xhtml+xml",
            "untrusted",
            "127.0.0.1",
        ),
        f"{host}/find?q=a%20b": ("<p>found</p>", "text/html", "untrusted", "127.0.0.1"),
    }
    assert not report.failed


async def test_a_page_that_did_not_change_is_neither_transferred_nor_sent(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    url = server.url("/leave.html")
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, tmp_path, url)
        again = await ingest(embedded, tenant, tmp_path, url)
        server.pages["/leave.html"] = Page(LEAVE.replace("Sixteen", "Twenty"))
        changed = await ingest(embedded, tenant, tmp_path, url)
    assert (again.n_unchanged, again.n_sent, changed.n_sent) == (1, 0, 1)
    assert [status for _, path, status in server.asked if path != "/robots.txt"] == [200, 304, 200]
    assert [change.version for change in worker.seen] == [1, 2]


async def test_by_last_modified_alone_it_is_the_same(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    date = "Sat, 21 Nov 2026 10:00:00 GMT"
    server.pages["/leave.html"] = Page(LEAVE, headers={"Last-Modified": date}, validates=False)
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, tmp_path, server.url("/leave.html"))
        again = await ingest(embedded, tenant, tmp_path, server.url("/leave.html"))
    assert [h.get("If-Modified-Since") for h in server.seen] == [None, None, None, date]
    assert again.n_unchanged == 1


async def test_validators_that_the_log_does_not_bear_out_are_not_used(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    url = server.url("/leave.html")

    def fails_at_first(change: Any) -> list[Any]:
        return [settled(change, "failed", "unavailable") if change.version == 1 else indexed(change)]

    with indexing(embedded, tenant, fails_at_first):
        first = await ingest(embedded, tenant, tmp_path, url)
        second = await ingest(embedded, tenant, tmp_path, url)
    with indexing(embedded, f"{tenant}-2"):
        elsewhere = await ingest(embedded, f"{tenant}-2", tmp_path, url)
    assert (first.counts(), second.counts()) == ({"failed": 1}, {"indexed": 1})
    assert elsewhere.n_sent == 1


async def test_without_a_memory_the_log_alone_says_what_changed(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    url = server.url("/leave.html")
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, tmp_path, url)
        for file in files(tmp_path):
            file.write_text("{broken")
        again = await ingest(embedded, tenant, tmp_path, url)
    assert (again.n_unchanged, len(worker.seen)) == (1, 1)


@pytest.mark.parametrize("kind", ["rss", "atom"])
async def test_a_feed_brings_its_pages_and_asks_only_for_new_ones(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer, kind: str
) -> None:
    def feed(*paths: str) -> Page:
        if kind == "rss":
            return rss(server, *((path, "Sat, 21 Nov 2026 10:00:00 GMT") for path in paths))
        entries = "".join(
            f'<entry><id>{path}</id><link href="{path}"/><updated>2026-11-21T10:00:00Z</updated></entry>'
            for path in paths
        )
        body = f'<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><id>n</id>{entries}</feed>'
        return Page(body, "application/xml")

    server.pages["/feed"] = feed("/leave.html")
    with indexing(embedded, tenant) as worker:
        first = await ingest(embedded, tenant, tmp_path, server.url("/feed"))
        second = await ingest(embedded, tenant, tmp_path, server.url("/feed"))
        server.pages["/feed"] = feed("/travel.html", "/leave.html")
        third = await ingest(embedded, tenant, tmp_path, server.url("/feed"))
    assert [(r.n_sent, r.n_unchanged, r.failed) for r in (first, second, third)] == [
        (1, 0, False),
        (0, 1, False),
        (1, 1, False),
    ]
    assert server.paths() == ["/feed", "/leave.html", "/feed", "/feed", "/travel.html"]
    assert [change.document.partition("/")[2] for change in worker.seen] == ["leave.html", "travel.html"]


async def test_an_entry_with_a_new_date_is_asked_for_again(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    with indexing(embedded, tenant) as worker:
        for date in ("Sat, 21 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:00:00 GMT"):
            server.pages["/feed"] = rss(server, ("/leave.html", date))
            server.pages["/leave.html"] = Page(f"<p>{date}</p>")
            await ingest(embedded, tenant, tmp_path, server.url("/feed"))
    assert [change.version for change in worker.seen] == [1, 2]


async def test_a_feed_cannot_lead_to_a_private_address(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    body = rss(server, ("/leave.html", "")).body
    assert isinstance(body, str)
    server.pages["/feed"] = Page(
        body.replace(server.url("/leave.html"), "http://169.254.169.254/latest/meta-data"), "application/rss+xml"
    )
    with indexing(embedded, tenant) as worker:
        report = await ingest(embedded, tenant, tmp_path, server.url("/feed"))
    assert [skipped.reason for skipped in report.skipped] == ["address"]
    assert worker.seen == []


async def test_addresses_of_a_feed_that_mean_nothing_are_reported_and_its_pages_are_sent(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    bad = ("http://[bad", "http://a..b/", "mailto:ada@example.com", "http://ada:secret@127.0.0.1/", "http://h:port/")
    items = "".join(f"<item><link>{link}</link></item>" for link in (*bad, server.url("/leave.html")))
    server.pages["/feed"] = Page(f'<rss version="2.0"><channel>{items}</channel></rss>', "application/rss+xml")
    with indexing(embedded, tenant) as worker:
        report = await ingest(embedded, tenant, tmp_path, server.url("/feed"))
    assert [change.document.partition("/")[2] for change in worker.seen] == ["leave.html"]
    assert {skipped.reason for skipped in report.skipped} == {"address"}
    assert [skipped.id for skipped in report.skipped] == [
        *("[bad", "a..b/", "mailto:ada@example.com", "***@127.0.0.1/", "h:port/")
    ]
    assert "secret" not in str(report.skipped)


@pytest.mark.parametrize(
    "items",
    [
        "<item><link>&#xD800;x</link></item><![CDATA[",
        '<item><gml:posList xmlns:gml="http://www.opengis.net/gml">1 2 3</gml:posList></item>',
    ],
)
async def test_a_feed_that_its_parser_fails_at_is_reported(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer, items: str
) -> None:
    server.pages["/feed"] = Page(f'<rss version="2.0"><channel>{items}</channel></rss>', "application/rss+xml")
    report = await ingest(embedded, tenant, tmp_path, server.url("/feed"))
    assert [skipped.reason for skipped in report.skipped] == ["broken"]


async def test_what_cannot_be_read_is_reported_and_the_rest_is_sent(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    server.pages |= {
        "/robots.txt": Page("User-agent: *\nDisallow: /private\n", "text/plain"),
        "/image": Page(b"\x89PNG", "image/png"),
        "/broken": Page(status=500),
        "/feed": Page("no feed", "application/rss+xml"),
        "/bad.txt": Page(b"\xff\xfe", "text/plain"),
    }
    paths = ("/leave.html", "/gone", "/image", "/broken", "/private", "/feed", "/bad.txt")
    with indexing(embedded, tenant):
        report = await ingest(embedded, tenant, tmp_path, *map(server.url, paths))
    assert report.n_sent == 1
    assert {s.id.partition("/")[2]: s.reason for s in report.skipped} == {
        "gone": "gone",
        "image": "type",
        "broken": "status",
        "private": "robots",
        "feed": "broken",
        "bad.txt": "undecodable",
    }


async def test_sync_deletes_pages_that_are_gone_and_not_those_that_left_a_feed(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    paths = [f"/{n}.html" for n in range(6)]
    for path in paths:
        server.pages[path] = Page(f"<p>{path}</p>")
    server.pages["/feed"] = rss(server, *((path, "") for path in paths))
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, tmp_path, server.url("/feed"))
        server.pages["/feed"] = rss(server, ("/5.html", ""))
        del server.pages["/0.html"]
        server.pages["/1.html"] = Page(status=500)
        server.pages["/2.html"] = Page(LEAVE)
        report = await ingest(embedded, tenant, tmp_path, server.url("/feed"), sync=True)
    assert (report.n_deleted, report.failed) == (1, False)
    assert [c.document.partition("/")[2] for c in worker.seen if c.op == "delete"] == ["0.html"]


async def test_what_a_server_answers_to_head_alone_deletes_nothing(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    server.pages["HEAD /leave.html"] = Page(status=404)
    server.pages["HEAD /travel.html"] = Page(status=404)
    urls = [server.url(path) for path in ("/leave.html", "/travel.html")]
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, tmp_path, *urls)
        del server.pages["/travel.html"]
        report = await ingest(embedded, tenant, tmp_path, *urls, sync=True, confirmed=True)
        again = await ingest(embedded, tenant, tmp_path, urls[0])
    assert [change.document.partition("/")[2] for change in worker.seen if change.op == "delete"] == ["travel.html"]
    assert (report.n_unchanged, report.n_deleted, report.failed, again.n_unchanged) == (1, 1, False, 1)


async def test_a_page_that_is_gone_is_deleted_although_a_feed_names_it_still(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    date = "Sat, 21 Nov 2026 10:00:00 GMT"
    server.pages["/feed"] = rss(server, ("/leave.html", date), ("/travel.html", date))
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, tmp_path, server.url("/feed"))
        del server.pages["/leave.html"]
        report = await ingest(embedded, tenant, tmp_path, server.url("/feed"), sync=True, confirmed=True)
    assert (report.n_unchanged, report.counts(), report.failed) == (1, {"deleted": 1}, False)


async def test_a_watched_page_is_looked_at_again_and_again(
    embedded: Connection, tenant: str, server: WebServer
) -> None:
    plan = Plan(paths=(server.url("/leave.html"),), tenant=tenant, wait=True, allowed=("127.0.0.1",))
    rounds: list[Report] = []

    def told(report: Report) -> None:
        rounds.append(report)
        if len(rounds) == 3:
            server.pages["/leave.html"] = Page("<p>Twenty weeks.</p>")

    with indexing(embedded, tenant) as worker:
        async with Millrace(embedded) as client:
            watch = asyncio.create_task(Watch(client, plan, told, lambda _: None, every_s=0.05).run())
            await until(lambda: len(worker.seen) == 2 or watch.done())
            watch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watch
    assert [change.version for change in worker.seen] == [1, 2]


async def test_sources_of_one_call_answer_for_their_own_documents_alone(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.md").write_text(f"page {n}")
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, tmp_path, server.url("/leave.html"), str(folder))
        (folder / "0.md").unlink()
        report = await ingest(embedded, tenant, tmp_path, server.url("/leave.html"), str(folder), sync=True)
    assert [change.document for change in worker.seen if change.op == "delete"] == ["0.md"]
    assert not report.failed
    assert {path for path in server.paths() if path != "/leave.html"} == set()


async def test_a_memory_that_cannot_be_written_is_named_with_a_remedy(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    (tmp_path / "file").write_text("")
    with indexing(embedded, tenant), pytest.raises(ConfigurationError, match="--state"):
        await ingest(embedded, tenant, tmp_path / "file", server.url("/leave.html"))


async def test_the_memory_is_for_this_user_alone(
    embedded: Connection, tenant: str, tmp_path: Path, server: WebServer
) -> None:
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, tmp_path, server.url("/leave.html"))
    (file,) = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["format"] == 1
