"""Keys of services: 256 random bits each, of which only a digest is kept, beside what the key may do.

A salt and a slow hash protect what people choose; a random key of this length has nothing to guess at.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway.identity import OF_KEY, Identity, Scope
from millrace.errors import Unavailable
from millrace.groups import EVERYONE

log = logging.getLogger(__name__)

PREFIX: Final = "mr_"
_LOOK_S: Final = 1.0
_NOBODY: Final = hashlib.sha256(b"nobody").hexdigest()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key.

    Attributes
    ----------
    id : str
        Public part, which finds it.
    digest : str
        SHA-256 of the whole key, hex.
    name : str
        Which service.
    tenant, groups, scopes
        What it may do.
    created_at : str
        UTC, ISO 8601.
    """

    id: str
    digest: str
    name: str
    tenant: str
    groups: tuple[str, ...] = ()
    scopes: tuple[Scope, ...] = ("ask", "read")
    created_at: str = ""


def new_key(
    name: str, tenant: str, groups: Sequence[str] = (), scopes: Sequence[Scope] = ("ask", "read"), created_at: str = ""
) -> tuple[str, ApiKey]:
    """A fresh key, to be shown once, and what is kept of it."""
    found = secrets.token_hex(6)
    key = f"{PREFIX}{found}_{secrets.token_urlsafe(32)}"
    kept = ApiKey(
        id=found,
        digest=digest_of(key),
        name=name,
        tenant=tenant,
        groups=tuple(sorted(set(groups))),
        scopes=tuple(sorted(set(scopes))),
        created_at=created_at,
    )
    return key, kept


def digest_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Keys of a file; none where there is no file.

    Raises
    ------
    ValueError
        It is no file of keys.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[ApiKey, ...])
    except FileNotFoundError:
        return ()
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} holds no keys as `python -m infra keys` writes them: {error}") from error


class ApiKeys:
    """Verifies keys; callable as a `gateway.identifying.Verifier`. A key that is revoked in the file is so here too.

    Parameters
    ----------
    path : Path
        File of keys.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked_at = float("-inf")
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}

    async def __call__(self, credential: str) -> Identity | None:
        """Identity of a key; None for anything else.

        Raises
        ------
        Unavailable
            The file cannot be read as it stands: which keys still count is not known.
        """
        if not credential.startswith(PREFIX):
            return None
        self._look()
        found = self._keys.get(credential.removeprefix(PREFIX).partition("_")[0])
        same = hmac.compare_digest(digest_of(credential), found.digest if found else _NOBODY)
        if found is None or not same:
            return None
        return Identity(
            tenant=found.tenant,
            user=OF_KEY + found.name,
            groups=tuple(sorted({EVERYONE, *found.groups})),
            kind="service",
            scopes=frozenset(found.scopes),
        )

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except FileNotFoundError:
            self._stamp, self._keys = None, {}
            return
        except OSError as error:
            raise self._unreadable(error) from error
        if stamp != self._stamp:
            try:
                self._keys = {each.id: each for each in read_keys(self._path)}
            except (OSError, ValueError) as error:
                raise self._unreadable(error) from error
            self._stamp = stamp

    def _unreadable(self, error: Exception) -> Unavailable:
        self._stamp, self._looked_at = None, float("-inf")
        log.error("the keys of services cannot be read, none counts until then: %s", error)
        return Unavailable("the keys of services cannot be read; see the gateway's log")
