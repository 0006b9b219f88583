"""How the server is reached: one client, opened when it is needed, and a watch over each call.

The client tries a call again for more than a minute while the server is away, and says in words only what went wrong.
So a call that takes longer than a second is watched: as soon as the server's own readiness probe fails, the call ends
as Unavailable. A call that runs out of time while the server is ready is a TimeoutError, which counts as an attempt.
Once the server was found to be away, calls end at once; one probe for all of them, twice a second, finds it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from grpc.aio import AioRpcError
from weaviate import WeaviateAsyncClient, use_async_with_custom
from weaviate.classes.init import AdditionalConfig, Auth, Timeout
from weaviate.config import GrpcConfig
from weaviate.exceptions import WeaviateBaseError

from millrace.errors import ConfigurationError, Unavailable
from streams.stores.weaviate.failures import (
    Missing,
    Refused,
    is_absence,
    is_half_made,
    is_refusal,
    is_timeout,
    meaning_of,
)

T = TypeVar("T")

_WATCH_S: Final = 1.0
_PROBE_S: Final = 1.0
_PROBES_S: Final = 0.5
_HALF_MADE_S: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_RECONNECT_MS: Final = 1_000
_FAILURES: Final = (WeaviateBaseError, AioRpcError, httpx.HTTPError, OSError)

# The client logs the objects that a server did not take, texts included; they are told of in the errors raised here.
logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)


class Address(msgspec.Struct, frozen=True):
    """Where a Weaviate server is.

    Attributes
    ----------
    url : str
        Of its REST interface: ``http://host:port`` or ``https://host:port``.
    grpc : str
        Of its gRPC interface: ``host:port``, with TLS where `url` is https.
    """

    url: str
    grpc: str

    def __str__(self) -> str:
        return self.url


class Connection:
    """A client of one server, for one event loop.

    Parameters
    ----------
    address : Address
        The server.
    api_key : str
        Who we are; empty for a server that lets everyone in.
    query_timeout_s, write_timeout_s : float
        How long a read and a write may take, in seconds.

    Raises
    ------
    ConfigurationError
        If the address is not one.
    """

    def __init__(
        self, address: Address, *, api_key: str = "", query_timeout_s: float = 30.0, write_timeout_s: float = 60.0
    ) -> None:
        self.address = address
        self.query_timeout_s = query_timeout_s
        self.write_timeout_s = write_timeout_s
        rest, grpc = urlsplit(address.url), urlsplit(f"//{address.grpc}")
        if rest.scheme not in {"http", "https"} or rest.hostname is None or grpc.hostname is None or grpc.port is None:
            raise ConfigurationError(
                f"no address of a Weaviate server: url {address.url!r}, grpc {address.grpc!r}; "
                "set `weaviate.url` to http(s)://host:port and `weaviate.grpc` to host:port"
            )
        self._client = use_async_with_custom(
            http_host=rest.hostname,
            http_port=rest.port or (443 if rest.scheme == "https" else 80),
            http_secure=rest.scheme == "https",
            grpc_host=grpc.hostname,
            grpc_port=grpc.port,
            grpc_secure=rest.scheme == "https",
            additional_config=AdditionalConfig(
                timeout=Timeout(query=query_timeout_s, insert=write_timeout_s, init=_PROBE_S),
                grpc_config=GrpcConfig(channel_options=[("grpc.max_reconnect_backoff_ms", _RECONNECT_MS)]),
            ),
            auth_credentials=Auth.api_key(api_key) if api_key else None,
            skip_init_checks=True,  # they ask a package index whether the client is the newest
        )
        self._probe = httpx.AsyncClient(base_url=address.url, timeout=_PROBE_S, trust_env=False)
        self._opening = asyncio.Lock()
        self._away_at_s: float | None = None
        self._looking: asyncio.Task[bool] | None = None

    async def ready(self) -> bool:
        """Ask the server whether it is ready; answers within a second."""
        try:
            async with asyncio.timeout(_PROBE_S):
                return (await self._probe.get("/v1/.well-known/ready")).is_success
        except (httpx.HTTPError, TimeoutError):
            return False

    async def open(self) -> None:
        """See that the server is there and lets us in.

        Raises
        ------
        ConfigurationError
            If it refuses the API key.
        Unavailable
            If it does not answer.
        """
        try:
            await self.read("the users", lambda client: client.users.get_my_user())
        except Refused as error:
            raise ConfigurationError(str(error)) from error

    async def read(self, what: str, run: Callable[[WeaviateAsyncClient], Awaitable[T]]) -> T:
        """Run a call that may take `query_timeout_s`; see `write`."""
        return await self._watched(f"reading {what}", run, self.query_timeout_s)

    async def write(self, what: str, run: Callable[[WeaviateAsyncClient], Awaitable[T]]) -> T:
        """Run a call that may take `write_timeout_s`.

        Parameters
        ----------
        what : str
            What is written, for messages.
        run : callable
            The call, given the client.

        Raises
        ------
        Unavailable
            If the server is away or refuses us.
        Missing
            If the collection or the tenant does not exist.
        TimeoutError
            If the call took too long although the server is ready.
        """
        return await self._watched(f"writing {what}", run, self.write_timeout_s)

    async def close(self) -> None:
        """Close the client."""
        if self._looking is not None:
            self._looking.cancel()
        await self._client.close()
        await self._probe.aclose()

    async def _watched(self, doing: str, run: Callable[[WeaviateAsyncClient], Awaitable[T]], limit_s: float) -> T:
        if not await self._back():
            raise Unavailable(self._away(doing))
        call = asyncio.ensure_future(self._call(run))
        deadline = asyncio.get_running_loop().time() + limit_s
        try:
            while True:
                left_s = deadline - asyncio.get_running_loop().time()
                done, _ = await asyncio.wait({call}, timeout=max(0.0, min(_WATCH_S, left_s)))
                if done:
                    return call.result()
                if not await self._there():
                    raise Unavailable(self._away(doing))
                if left_s <= 0:
                    raise self._too_long(doing, limit_s)
        except _FAILURES as error:
            if is_timeout(error) and await self._there():
                raise self._too_long(doing, limit_s) from error
            told = await self._told(doing, error)
            if told is error:
                raise
            raise told from error
        finally:
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, *_FAILURES):
                await call

    async def _back(self) -> bool:
        """Whether a call makes sense: the server was not found to be away, or a new probe finds it."""
        if self._away_at_s is None:
            return True
        if asyncio.get_running_loop().time() - self._away_at_s < _PROBES_S:
            return False
        return await self._there()

    async def _there(self) -> bool:
        """Probe the server, once for all who ask at the same time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="weaviate-probe")
        return await asyncio.shield(self._looking)

    async def _look(self) -> bool:
        there = await self.ready()
        self._away_at_s = None if there else asyncio.get_running_loop().time()
        return there

    async def _call(self, run: Callable[[WeaviateAsyncClient], Awaitable[T]]) -> T:
        if not self._client.is_connected():
            async with self._opening:
                await self._client.connect()
        for pause_s in _HALF_MADE_S:
            try:
                return await run(self._client)
            except _FAILURES as error:
                if not is_half_made(error):
                    raise
            await asyncio.sleep(pause_s)
        return await run(self._client)

    async def _told(self, doing: str, error: Exception) -> Exception:
        """The error to raise; the error itself where nothing better is known."""
        if is_refusal(error):
            return Refused(
                f"Weaviate at {self.address} refuses {doing} with this API key; check `weaviate.api_key` and the roles "
                f"of its user ({_first_line(error)})"
            )
        meaning = meaning_of(str(error))
        if meaning == "missing":
            return Missing(_first_line(error))
        if not await self._there() or meaning == "transient" or is_absence(error):
            return Unavailable(self._away(doing, _first_line(error)))
        return error

    def _too_long(self, doing: str, limit_s: float) -> TimeoutError:
        return TimeoutError(
            f"{doing} took more than {limit_s:g} s although Weaviate at {self.address} is ready; look at its load, or "
            "raise the timeouts under `weaviate`"
        )

    def _away(self, doing: str, said: str = "it does not answer its probe") -> str:
        return f"{doing}: no Weaviate at {self.address} that can be used ({said}); start it, or look at its log"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
