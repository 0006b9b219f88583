"""Laws about fetching: only public addresses, only what robots.txt permits, no more than allowed."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
from collections.abc import AsyncIterator

import pytest

from millrace.errors import Unreadable
from millrace.ingest.fetching import MAX_REDIRECTS, Fetcher, is_permitted
from tests.millrace.web_server import Page, WebServer

LOOPBACK = [ipaddress.ip_network("127.0.0.1/32")]


@pytest.fixture
async def server() -> AsyncIterator[WebServer]:
    async with WebServer("127.0.0.1", "127.0.0.2") as found:
        found.pages["/"] = Page("<p>Hello.</p>")
        yield found


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    found = Fetcher(LOOPBACK)
    yield found
    await found.close()


async def refusal(fetcher: Fetcher, url: str, max_bytes: int = 10_000) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        await fetcher.fetch(url, max_bytes)
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",  # noqa: S104 - nothing listens there
            "224.0.0.1",
            "192.88.99.1",
            "168.63.129.16",
        ),
        *("::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"),
        *("64:ff9b:1::7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1", "2001::1", "100::1", "5f00::1"),
        *("::ffff:168.63.129.16", "64:ff9b::a83f:8110", "4000::1", "ff0e::1"),
    ],
)
def test_what_is_not_public_is_not_permitted(address: str) -> None:
    assert not is_permitted(address, [])


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"])
def test_public_addresses_are_permitted(address: str) -> None:
    assert is_permitted(address, [])


def test_a_network_that_was_allowed_is_permitted_and_its_neighbours_are_not() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    assert is_permitted("10.1.2.3", allowed)
    assert is_permitted("::ffff:10.1.2.3", allowed)
    assert not is_permitted("10.2.0.1", allowed)
    assert is_permitted("fec0::1", [ipaddress.ip_network("fec0::/10")])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_refused_however_it_is_written(server: WebServer, host: str) -> None:
    fetcher = Fetcher()
    try:
        found = await refusal(fetcher, server.url("/", host))
    finally:
        await fetcher.close()
    assert found.reason in {"address", "unreachable"}
    assert server.asked == []


async def test_a_private_address_that_was_allowed_is_fetched(server: WebServer, fetcher: Fetcher) -> None:
    answer = await fetcher.fetch(server.url("/"), 10_000)
    assert (answer.status, answer.body) == (200, b"<p>Hello.</p>")


async def test_a_redirect_to_a_private_address_is_refused(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/secret"] = Page("of the network inside")
    server.pages["/out"] = Page(status=302, headers={"Location": server.url("/secret", "127.0.0.2")})
    found = await refusal(fetcher, server.url("/out"))
    assert found.reason == "address"
    assert "127.0.0.2" in str(found)
    assert "--allow-network" in str(found)
    assert server.paths() == ["/out"]
    both = Fetcher([ipaddress.ip_network("127.0.0.0/8")])
    assert (await both.fetch(server.url("/out"), 10_000)).body == b"of the network inside"
    await both.close()


async def test_robots_txt_that_redirects_to_a_private_address_is_refused(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/robots.txt"] = Page(status=301, headers={"Location": server.url("/robots.txt", "127.0.0.2")})
    assert (await refusal(fetcher, server.url("/"))).reason == "address"


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "http://a:b@127.0.0.1/"]
)
async def test_a_redirect_to_anything_but_a_page_is_refused(server: WebServer, fetcher: Fetcher, location: str) -> None:
    server.pages["/out"] = Page(status=302, headers={"Location": location})
    assert (await refusal(fetcher, server.url("/out"))).reason in {"address", "redirect"}


async def test_redirects_in_a_circle_end(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/a"] = Page(status=307, headers={"Location": "/a"})
    assert (await refusal(fetcher, server.url("/a"))).reason == "redirect"
    assert len(server.paths()) == MAX_REDIRECTS + 1


async def test_robots_txt_is_obeyed_also_after_a_redirect(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/robots.txt"] = Page("User-agent: *\nDisallow: /private/*.html$\n", "text/plain")
    server.pages["/private/a.html"] = Page("no")
    server.pages["/private/a.txt"] = Page("yes", "text/plain")
    server.pages["/link"] = Page(status=302, headers={"Location": "/private/a.html"})
    assert (await refusal(fetcher, server.url("/private/a.html"))).reason == "robots"
    assert (await refusal(fetcher, server.url("/link"))).reason == "robots"
    assert (await fetcher.fetch(server.url("/private/a.txt"), 100)).body == b"yes"
    assert server.paths() == ["/link", "/private/a.txt"]
    assert [path for _, path, _ in server.asked].count("/robots.txt") == 1


async def test_robots_txt_that_cannot_be_known_permits_nothing(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/robots.txt"] = Page(status=503)
    assert (await refusal(fetcher, server.url("/"))).reason == "robots"
    assert server.paths() == []


async def test_crawl_delay_is_kept(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/robots.txt"] = Page("User-agent: millrace\nCrawl-delay: 0.5\n", "text/plain")
    loop = asyncio.get_running_loop()
    await fetcher.fetch(server.url("/"), 100)
    began = loop.time()
    await fetcher.fetch(server.url("/"), 100)
    assert loop.time() - began >= 0.45


async def test_no_more_is_taken_than_allowed_however_it_is_packed(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/big"] = Page("x" * 20_000)
    packed = gzip.compress(b"x" * 50_000_000)
    assert len(packed) < 60_000
    server.pages["/bomb"] = Page(packed, headers={"Content-Encoding": "gzip"})
    assert (await refusal(fetcher, server.url("/big"))).reason == "too_large"
    assert (await refusal(fetcher, server.url("/bomb"), 1_000_000)).reason == "too_large"


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    fetcher = Fetcher(LOOPBACK, timeout_s=0.3)
    try:
        port = listener.sockets[0].getsockname()[1]
        assert (await refusal(fetcher, f"http://127.0.0.1:{port}/")).reason == "timeout"
    finally:
        await fetcher.close()
        listener.close()
        await listener.wait_closed()


async def test_nothing_that_identifies_the_reader_is_sent(server: WebServer, fetcher: Fetcher) -> None:
    server.pages["/"] = Page("x", headers={"Set-Cookie": "id=1"})
    await fetcher.fetch(server.url("/"), 100)
    await fetcher.fetch(server.url("/"), 100)
    assert {name.lower() for headers in server.seen for name in headers} <= {
        *("host", "accept", "accept-encoding", "user-agent")
    }
