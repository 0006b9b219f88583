"""Fetch over HTTP what may be fetched: public addresses, permitted by robots.txt, in bounded time and size."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp
import msgspec
from protego import Protego

from millrace.errors import InputRejected, Unreadable
from millrace.ingest.addresses import shown, split

AGENT: Final = "millrace"
MAX_REDIRECTS: Final = 5
_MAX_ROBOTS_BYTES: Final = 512 * 1024
_MAX_DELAY_S: Final = 30.0
_ROBOTS_LAST_S: Final = 3600.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""The only IPv6 addresses that are assigned to hosts of the Internet; IPv4 addresses hide in many of the others."""
_RELAYS: Final = ipaddress.ip_network("192.88.99.0/24")
_AZURE: Final = ipaddress.ip_network("168.63.129.16/32")
"""Public by its number, and yet the host that Azure's machines run on."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back in the end, after all redirects."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class RefusedAddress(OSError):
    """An address that must not be connected to."""


class Fetcher:
    """An HTTP client for addresses that strangers choose.

    Every connection is made to an address that was checked, not to a name that could mean another one by then. That
    holds for redirects and robots.txt as well.

    Parameters
    ----------
    allowed : sequence of networks
        Private, loopback or otherwise not public networks that may be reached all the same.
    timeout_s : float
        Longest time for one request, in seconds.
    """

    def __init__(self, allowed: Sequence[Network] = (), *, timeout_s: float = 30.0) -> None:
        self._allowed = tuple(allowed)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(10.0, timeout_s))
        self._session: aiohttp.ClientSession | None = None
        self._refused = ""
        self._robots: dict[str, tuple[float, Protego]] = {}
        self._asked_at: dict[str, float] = {}

    async def fetch(
        self, url: str, max_bytes: int, headers: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Answer:
        """Fetch a page, following redirects, each of which must be permitted.

        Raises
        ------
        Unreadable
            ``address``, ``robots``, ``redirect``, ``too_large``, ``timeout`` or ``unreachable``.
        """
        for _ in range(MAX_REDIRECTS + 1):
            await self._permit(url)
            answer = await self._once(method, url, max_bytes, headers or {})
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            url = _joined(url, answer.headers["location"])
        raise Unreadable("redirect", f"more than {MAX_REDIRECTS} redirects; name the page where they end")

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _permit(self, url: str) -> None:
        origin = _origin(url)
        read_at, robots = self._robots.get(origin, (0.0, None))
        if robots is None or time.monotonic() - read_at > _ROBOTS_LAST_S:
            robots = await self._read_robots(origin)
            self._robots[origin] = (time.monotonic(), robots)
        if not robots.can_fetch(url, AGENT):
            raise Unreadable("robots", f"{origin}/robots.txt does not let {AGENT!r} read {url}; ask its owner")
        delay_s = min(robots.crawl_delay(AGENT) or 0.0, _MAX_DELAY_S)
        wait_s = self._asked_at.get(origin, 0.0) + delay_s - time.monotonic()
        if delay_s and wait_s > 0:
            await asyncio.sleep(wait_s)
        self._asked_at[origin] = time.monotonic()

    async def _read_robots(self, origin: str) -> Protego:
        """Rules of a host, as RFC 9309 says: none when there is no such file, no entry when it cannot be known."""
        url = f"{origin}/robots.txt"
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._once("GET", url, _MAX_ROBOTS_BYTES, {}, cut=True)
            if answer.status in _REDIRECTS and "location" in answer.headers:
                url = _joined(url, answer.headers["location"])
                continue
            if answer.status >= 500:
                raise Unreadable("robots", f"{url} answers {answer.status}, so nothing may be read; try again later")
            return Protego.parse(answer.body.decode("utf-8", "replace") if answer.status < 300 else "")
        return Protego.parse("")

    async def _once(
        self, method: str, url: str, max_bytes: int, headers: Mapping[str, str], *, cut: bool = False
    ) -> Answer:
        _origin(url)
        self._refused = ""
        session = self._open()
        try:
            async with session.request(method, url, headers=dict(headers), allow_redirects=False) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                body = await _body(response, max_bytes, cut=cut) if response.status < 300 else b""
                return Answer(url=url, status=response.status, headers=found, body=body)
        except TimeoutError as error:
            message = f"{url} was not read within {self._timeout.total:g} s; try again later"
            raise Unreadable("timeout", message) from error
        except aiohttp.ClientError as error:
            if self._refused:
                raise Unreadable("address", self._refused) from error
            raise Unreadable("unreachable", f"{url} cannot be read: {error}") from error
        except ValueError as error:  # a host name that no resolver takes, which aiohttp hands on as it came
            raise Unreadable("address", f"{url!r} is no address of a page: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=self._socket, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"{AGENT}-ingest"},
                timeout=self._timeout,
            )
        return self._session

    def _socket(self, address: Any) -> socket.socket:
        """A socket to one address that a name resolved to; this is where it is refused, and nothing comes after."""
        family, kind, protocol, _, where = address
        if not is_permitted(where[0], self._allowed):
            self._refused = (
                f"{where[0]} is not a public address; if it may be read all the same, allow it: "
                f"--allow-network {where[0]}"
            )
            raise RefusedAddress(self._refused)
        return socket.socket(family, kind, protocol)


def is_permitted(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an IP address may be connected to: it is public, or in one of the allowed networks."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _TRANSLATED:
            found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        else:
            found = found.ipv4_mapped or found.sixtofour or found
    if any(found.version == network.version and found in network for network in allowed):
        return True
    if isinstance(found, ipaddress.IPv6Address):
        return found.is_global and found in _UNICAST
    return found.is_global and not found.is_multicast and found not in _RELAYS and found not in _AZURE


async def _body(response: aiohttp.ClientResponse, max_bytes: int, *, cut: bool) -> bytes:
    """Bytes of a body, decompressed; no more of them than allowed are ever held."""
    found = bytearray()
    async for part in response.content.iter_chunked(65_536):
        found += part
        if len(found) > max_bytes:
            if cut:
                return bytes(found[:max_bytes])
            message = f"{response.url} has more than {max_bytes} bytes; raise --max-bytes"
            raise Unreadable("too_large", message)
    return bytes(found)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise Unreadable("redirect", f"{url} redirects to {shown(location[:200])!r}, which is no address") from error


def _origin(url: str) -> str:
    """Scheme, host and port of a page.

    Raises
    ------
    Unreadable
        ``address``: it is none that is read.
    """
    try:
        parts = split(url)
    except InputRejected as error:
        raise Unreadable("address", str(error)) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise Unreadable("address", f"{shown(url)!r} is no address of a page: http(s)://host/path, without a password")
    return f"{parts.scheme}://{parts.netloc}"
