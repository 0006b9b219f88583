"""Persons and services as tests send them: tokens are signed with a key of the test run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gateway.identifying import Verifier
from gateway.jwks import Jwks
from gateway.settings import GatewaySettings, Limits
from gateway.tokens import Tokens

ISSUER: Final = "https://issuer.example"
AUDIENCE: Final = "millrace"
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")


@cache
def ec_key(kid: str = "ec") -> ECKey:
    """A key for ES256."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


@cache
def rsa_key(kid: str = "rsa") -> RSAKey:
    """A key for RS256."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@cache
def okp_key(kid: str = "okp") -> OKPKey:
    """A key for EdDSA."""
    return OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig"})


def key_set(*keys: Any) -> bytes:
    """Public keys as a provider publishes them."""
    return msgspec.json.encode({"keys": [key.as_dict(private=False) for key in keys]})


def claims(user: str = "ada", *, tenant: str, **more: Any) -> dict[str, Any]:
    """Claims of a valid token; None takes one out."""
    now = int(time.time())
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 86_400,
        "iat": now,
        "sub": user,
        "tenant": tenant,
        "groups": [],
        "scope": "ask read write access",
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def signed(found: dict[str, Any], key: Any | None = None, alg: str = "ES256", **header: Any) -> str:
    """A token."""
    key = key or ec_key()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of EdDSA, whose name is out of fashion
        return jwt.encode({"alg": alg, "kid": key.kid, **header}, found, key, algorithms=[alg])


@dataclass
class Provider:
    """An identity provider in memory."""

    keys: list[Any] = field(default_factory=lambda: [ec_key()])
    n_read: int = 0

    async def read(self) -> bytes:
        """Its key set."""
        self.n_read += 1
        return key_set(*self.keys)


@dataclass
class Callers:
    """Makes credentials, and knows whose they are."""

    provider: Provider = field(default_factory=Provider)

    def bearer(
        self,
        user: str = "ada",
        *,
        tenant: str,
        groups: Sequence[str] = (),
        scopes: Sequence[str] = ("ask", "read", "write", "access"),
        **more: Any,
    ) -> dict[str, str]:
        """Headers of a person."""
        found = claims(user, tenant=tenant, groups=list(groups), scope=" ".join(scopes), **more)
        return {"Authorization": f"Bearer {signed(found)}"}

    def verifiers(self) -> Sequence[Verifier]:
        """Who vouches for them."""
        return (Tokens(Jwks(self.provider.read), issuer=ISSUER, audience=AUDIENCE, algorithms=ALGORITHMS),)


def unhurried(settings: GatewaySettings) -> GatewaySettings:
    """The same on a machine that runs other tests beside: a late event loop alone refuses nothing."""
    limits = settings.limits
    if limits.max_lag_s != Limits().max_lag_s:
        return settings
    return msgspec.structs.replace(settings, limits=msgspec.structs.replace(limits, max_lag_s=60.0))
