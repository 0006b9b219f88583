"""Public keys of an identity provider, from a file or an https address of the settings; never from a request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from millrace.errors import Unavailable

log = logging.getLogger(__name__)

Key = RSAKey | ECKey | OKPKey
Read = Callable[[], Awaitable[bytes]]
MAX_BYTES: Final = 512 * 1024
_MAX_KEYS: Final = 64
_LEAST_RSA_BITS: Final = 2048


class Jwks:
    """Keys by id, read again when one is unknown, and now and then so that a withdrawn one is forgotten.

    Parameters
    ----------
    read : callable
        Gives the JSON of the key set; see `reader_of`.
    again_s : float
        Least time between two readings that unknown ids lead to, in seconds.
    max_age_s : float
        After so long the set is read again before it is used.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        read: Read,
        *,
        again_s: float = 30.0,
        max_age_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._again_s = again_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._tried_at = float("-inf")
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def find(self, kid: str) -> Key | None:
        """Key of an id; None for one that the provider does not have.

        Raises
        ------
        Unavailable
            The provider never answered.
        """
        now = self._clock()
        unknown = kid not in self._keys
        due = now - self._tried_at >= self._again_s
        if due and (unknown or now - self._read_at > self._max_age_s):
            await self._renew()
        elif unknown and self._reading.locked():
            # Who asks for a new key while it is read waits for it, and is not refused.
            async with self._reading:
                pass
        if self._read_at == float("-inf"):
            raise Unavailable("the keys of the identity provider cannot be read; see the gateway's log")
        return self._keys.get(kid)

    async def _renew(self) -> None:
        async with self._reading:
            if self._clock() - self._tried_at < self._again_s:
                return
            self._tried_at = self._clock()
            try:
                self._keys = keys_of(await self._read())
                self._read_at = self._clock()
            except (httpx.HTTPError, OSError, ValueError, TimeoutError) as error:
                log.warning("the keys of the identity provider cannot be read: %s", type(error).__name__)


def keys_of(raw: bytes) -> dict[str, Key]:
    """Public keys of a key set that can verify signatures; a symmetric key is never one.

    Raises
    ------
    ValueError
        It is no key set.
    """
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any]).get("keys")
    except msgspec.MsgspecError as error:
        raise ValueError("the key set is no JSON object") from error
    if not isinstance(found, list) or len(found) > _MAX_KEYS:
        raise ValueError(f"the key set has no list 'keys' of at most {_MAX_KEYS}")
    keys: dict[str, Key] = {}
    for each in found:
        key = _key_of(each)
        if key is not None and key.kid:
            keys.setdefault(key.kid, key)
    return keys


def _key_of(found: Any) -> Key | None:
    if not isinstance(found, dict) or found.get("use", "sig") != "sig" or found.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    if found["kty"] == "RSA" and len(str(found.get("n", ""))) * 6 < _LEAST_RSA_BITS:
        return None
    public = {name: value for name, value in found.items() if name not in {"d", "p", "q", "dp", "dq", "qi", "oth"}}
    try:
        key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def reader_of(place: str, *, timeout_s: float = 5.0, transport: httpx.AsyncBaseTransport | None = None) -> Read:
    """How to read a key set: a file, or an https address, which is not followed elsewhere.

    Raises
    ------
    ValueError
        It is an address of another kind.
    """
    parts = urlsplit(place)
    if "://" not in place:
        return lambda: asyncio.to_thread(_read_file, Path(place))
    if parts.scheme != "https" or parts.username or parts.password:
        raise ValueError(f"keys at {parts.scheme}://{parts.hostname} are not read; name a file or an https address")

    async def fetch() -> bytes:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(follow_redirects=False, timeout=timeout_s, transport=transport) as client,
            client.stream("GET", place, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"the address answers with {response.status_code}")
            raw = bytearray()
            async for piece in response.aiter_bytes():
                raw += piece
                if len(raw) > MAX_BYTES:
                    raise ValueError(f"the key set is over {MAX_BYTES} bytes")
            return bytes(raw)

    return fetch


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"the key set is over {MAX_BYTES} bytes")
    return raw
