"""JSON Web Tokens of persons, checked against the keys of an identity provider.

What a token says of its own keys (`jwk`, `jku`, `x5u`, ...) is never looked at: a token that says it is refused. Only
the algorithms of the settings count, none of them symmetric. A refusal says nothing of its reason to the caller.
"""

from __future__ import annotations

import binascii
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from gateway.identity import OF_KEY, Identity, Scope
from gateway.jwks import Jwks
from millrace.groups import EVERYONE

log = logging.getLogger(__name__)

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
"""What may be allowed: signatures by a private key that the gateway does not have."""
SCOPES: Final[frozenset[Scope]] = frozenset({"ask", "read", "write", "access"})
_HEADER: Final = frozenset({"alg", "kid", "typ", "cty"})
_MAX_GROUPS: Final = 256
_MAX_NAME: Final = 200


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Which claims of a token say what.

    Attributes
    ----------
    tenant, user, groups, scopes : str
        Names of claims; dots lead into objects, such as ``realm_access.roles``.
    scope_prefix : str
        What precedes our scopes in the claim; others in it are passed over.
    default_scopes : tuple of str
        Scopes of a token without that claim.
    """

    tenant: str = "tenant"
    user: str = "sub"
    groups: str = "groups"
    scopes: str = "scope"
    scope_prefix: str = ""
    default_scopes: tuple[Scope, ...] = ("ask", "read")


class Tokens:
    """Verifies tokens; callable as a `gateway.identifying.Verifier`.

    Parameters
    ----------
    keys : Jwks
        Public keys by id.
    issuer, audience : str
        What ``iss`` and ``aud`` have to say.
    algorithms : tuple of str
        Algorithms that are allowed, of `ALGORITHMS`.
    claims : Claims
        Where tenant, user, groups and scopes stand.
    leeway_s : int
        How far clocks may differ, in seconds.
    now : callable
        Unix time in seconds.
    """

    def __init__(
        self,
        keys: Jwks,
        *,
        issuer: str,
        audience: str,
        algorithms: tuple[str, ...],
        claims: Claims | None = None,
        leeway_s: int = 30,
        now: Callable[[], float] = time.time,
    ) -> None:
        if strange := set(algorithms) - set(ALGORITHMS):
            raise ValueError(f"algorithm {min(strange)!r} is not allowed for tokens; choose of {', '.join(ALGORITHMS)}")
        if not (algorithms and issuer and audience):
            raise ValueError("tokens need an issuer, an audience and at least one algorithm")
        self._keys = keys
        self._algorithms = algorithms
        self._claims = claims or Claims()
        self._registry = _Registry(algorithms=algorithms)
        self._checks = JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=leeway_s,
            exp={"essential": True},
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
        )

    async def __call__(self, credential: str) -> Identity | None:
        """Identity of a token; None for anything else.

        Raises
        ------
        Unavailable
            No key is known, because the provider cannot be read.
        """
        header = _header(credential)
        if header is None:
            return None
        if set(header) - _HEADER or header.get("alg") not in self._algorithms:
            return None
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            return None
        key = await self._keys.find(kid)
        if key is None or key.get("alg") not in {None, header["alg"]}:
            return None
        try:
            token = jwt.decode(credential, key, algorithms=list(self._algorithms), registry=self._registry)
            self._checks.validate(token.claims)
        except (JoseError, ValueError, TypeError, OverflowError) as error:
            log.info("a token was refused: %s", type(error).__name__)
            return None
        return identity_of(token.claims, self._claims)


class _Registry(JWSRegistry):
    """Algorithms of the settings alone; the library's own warns of EdDSA, which providers still name so."""

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError(f"algorithm {name!r} is not allowed")
        return self.algorithms[name]


def identity_of(claims: Mapping[str, Any], names: Claims) -> Identity | None:
    """Identity that verified claims give; None where they name no tenant or no user, or not as they should."""
    tenant, user = _at(claims, names.tenant), _at(claims, names.user)
    groups = _listed(_at(claims, names.groups))
    if (
        not (_is_name(tenant) and _is_name(user))
        or user.startswith(OF_KEY)
        or groups is None
        or len(groups) > _MAX_GROUPS
    ):
        return None
    if not all(_is_name(group) for group in groups):
        return None
    found = _at(claims, names.scopes)
    named = _listed(found.split() if isinstance(found, str) else found)
    if named is None:
        return None
    prefix = names.scope_prefix
    scopes = {each.removeprefix(prefix) for each in named if each.startswith(prefix)}
    return Identity(
        tenant=tenant,
        user=user,
        groups=tuple(sorted({EVERYONE, *groups})),
        kind="person",
        scopes=frozenset(names.default_scopes if found is None else SCOPES & scopes),
    )


def _header(credential: str) -> dict[str, Any] | None:
    parts = credential.split(".")
    if len(parts) != 3:
        return None
    try:
        found = msgspec.json.decode(urlsafe_b64decode(parts[0].encode()), type=dict[str, Any])
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None
    return found


def _at(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _listed(found: Any) -> list[str] | None:
    if found is None:
        return []
    if isinstance(found, str):
        return [found]
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else None


def _is_name(found: Any) -> bool:
    return isinstance(found, str) and 0 < len(found) <= _MAX_NAME and found.isprintable()
