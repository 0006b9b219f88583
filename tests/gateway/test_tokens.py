"""E1: a token counts only when its provider made it, for this gateway, for now; nothing else is looked at."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from gateway.jwks import Jwks, keys_of
from gateway.tokens import Claims, Tokens, identity_of
from millrace.errors import Unavailable
from tests.gateway.callers import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    Provider,
    claims,
    ec_key,
    key_set,
    okp_key,
    rsa_key,
    signed,
)

VALID = claims(tenant="acme")
NOW = int(time.time())


def tokens(provider: Provider | None = None, **options: Any) -> Tokens:
    jwks = Jwks((provider or Provider([ec_key(), rsa_key(), okp_key()])).read)
    return Tokens(jwks, **{"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ALGORITHMS, **options})


def raw(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = [msgspec.json.encode(header), msgspec.json.encode(body), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def by_public_key_as_secret() -> str:
    head = raw({"alg": "HS256", "kid": "rsa"}, VALID).rpartition(".")[0]
    digest = hmac.digest(rsa_key().as_pem(private=False), head.encode(), "sha256")
    return head + "." + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def critical() -> str:
    header = {"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": True}
    return raw(header, VALID, b"x" * 64)


def stranger() -> ECKey:
    return ECKey.generate_key("P-256", {"kid": "ec"})


def with_embedded_key(name: str) -> Callable[[], str]:
    def make() -> str:
        key = ECKey.generate_key("P-256", {"kid": "theirs"})
        value: Any = {
            "jwk": key.as_dict(private=False),
            "jku": "https://evil.example/keys",
            "x5u": "https://evil.example/cert",
            "x5c": ["MIIB"],
        }[name]
        registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        header = {"alg": "ES256", "kid": "ec", name: value}
        return jws.serialize_compact(header, msgspec.json.encode(VALID), key, registry=registry)

    return make


def signed_right_with(name: str) -> Callable[[], str]:
    """Even a good signature does not help a token that names keys of its own."""

    def make() -> str:
        registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        value: Any = ec_key().as_dict(private=False) if name == "jwk" else "https://issuer.example/x"
        header = {"alg": "ES256", "kid": "ec", name: value}
        return jws.serialize_compact(header, msgspec.json.encode(VALID), ec_key(), registry=registry)

    return make


FORGED: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no token": lambda: "a.b.c",
    "two parts": lambda: "a.b",
    "alg none": lambda: raw({"alg": "none", "kid": "ec"}, VALID),
    "alg None": lambda: raw({"alg": "None", "kid": "ec"}, VALID),
    "alg missing": lambda: raw({"kid": "ec"}, VALID, b"x" * 64),
    "alg of another type": lambda: raw({"alg": ["ES256"], "kid": "ec"}, VALID, b"x" * 64),
    "public key as secret": by_public_key_as_secret,
    "an algorithm that is not allowed": lambda: signed(VALID, rsa_key(), "RS512"),
    "an algorithm of another key": lambda: raw({"alg": "RS256", "kid": "ec"}, VALID, b"x" * 64),
    "unknown kid": lambda: signed(VALID, ECKey.generate_key("P-256", {"kid": "other"})),
    "no kid": lambda: signed(VALID, kid=""),
    "kid of a path": lambda: signed(VALID, kid="../../ec"),
    "key of a stranger": lambda: signed(VALID, stranger()),
    "signature of another token": lambda: (
        signed(VALID).rpartition(".")[0] + "." + signed({**VALID, "sub": "eve"}).rpartition(".")[2]
    ),
    "other claims": lambda: ".".join(
        (
            signed(VALID).split(".")[0],
            raw({}, {**VALID, "tenant": "umbrella"}).split(".")[1],
            signed(VALID).split(".")[2],
        )
    ),
    "no signature": lambda: signed(VALID).rpartition(".")[0] + ".",
    "crit": critical,
    **{f"embedded {name}": with_embedded_key(name) for name in ("jwk", "jku", "x5u", "x5c")},
    **{f"signed right, with {name}": signed_right_with(name) for name in ("jwk", "jku", "x5u")},
    "expired": lambda: signed({**VALID, "exp": NOW - 120}),
    "never expires": lambda: signed(claims(tenant="acme", exp=None)),
    "expiry of another type": lambda: signed({**VALID, "exp": "tomorrow"}),
    "expiry without end": lambda: signed({**VALID, "exp": True}),
    "not yet valid": lambda: signed({**VALID, "nbf": NOW + 86_400}),
    "issued in the future": lambda: signed({**VALID, "iat": NOW + 3600}),
    "wrong audience": lambda: signed({**VALID, "aud": "another"}),
    "wrong audiences": lambda: signed({**VALID, "aud": ["another", "third"]}),
    "no audience": lambda: signed(claims(tenant="acme", aud=None)),
    "wrong issuer": lambda: signed({**VALID, "iss": ISSUER + "/"}),
    "no issuer": lambda: signed(claims(tenant="acme", iss=None)),
    "no tenant": lambda: signed({**VALID, "tenant": ""}),
    "tenant of another type": lambda: signed({**VALID, "tenant": ["acme"]}),
    "tenant with a line break": lambda: signed({**VALID, "tenant": "acme\nevil"}),
    "no user": lambda: signed({**VALID, "sub": ""}),
    "groups of another type": lambda: signed({**VALID, "groups": {"staff": True}}),
    "a group that is no text": lambda: signed({**VALID, "groups": ["staff", 7]}),
    "encrypted": lambda: "a.b.c.d.e",
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_nobodys(name: str) -> None:
    assert await tokens()(FORGED[name]()) is None


@pytest.mark.parametrize(
    ("key", "alg"), [(ec_key, "ES256"), (rsa_key, "RS256"), (okp_key, "EdDSA")], ids=["ES256", "RS256", "EdDSA"]
)
async def test_a_token_of_the_provider_counts(key: Callable[[], Any], alg: str) -> None:
    found = await tokens()(signed({**VALID, "groups": ["staff"]}, key(), alg))
    assert found is not None
    assert (found.tenant, found.user, found.groups, found.kind) == ("acme", "ada", ("*", "staff"), "person")
    assert found.scopes == {"ask", "read", "write", "access"}


async def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert await tokens()(signed({**VALID, "exp": now - 5, "nbf": now + 5})) is not None
    assert await tokens(leeway_s=0)(signed({**VALID, "exp": now - 5})) is None


@pytest.mark.parametrize("alg", ["none", "HS256", "HS512", "dir"])
def test_an_algorithm_that_proves_nothing_cannot_be_set(alg: str) -> None:
    with pytest.raises(ValueError, match="not allowed for tokens"):
        tokens(algorithms=("ES256", alg))


async def test_a_new_key_of_the_provider_is_found_and_unknown_ones_do_not_make_it_busy() -> None:
    clock, provider = [0.0], Provider([ec_key()])
    jwks = Jwks(provider.read, again_s=30, clock=lambda: clock[0])
    assert await jwks.find("ec") is not None
    provider.keys = [ec_key(), ec_key("next")]
    for _ in range(50):
        assert await jwks.find("next") is None
    assert provider.n_read == 1
    clock[0] = 31
    assert await jwks.find("next") is not None
    for n in range(50):
        assert await jwks.find(f"unknown-{n}") is None
    assert provider.n_read == 2


async def test_whoever_comes_while_the_keys_are_read_waits_for_them() -> None:
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> bytes:
        reading.set()
        await go_on.wait()
        return key_set(ec_key())

    jwks = Jwks(read)
    both = [asyncio.create_task(jwks.find("ec"))]
    await reading.wait()
    both.append(asyncio.create_task(jwks.find("ec")))
    await asyncio.sleep(0)
    go_on.set()
    assert None not in await asyncio.gather(*both)


async def test_a_key_that_the_provider_withdraws_is_forgotten() -> None:
    clock, provider = [0.0], Provider([ec_key(), ec_key("next")])
    jwks = Jwks(provider.read, max_age_s=600, clock=lambda: clock[0])
    assert await jwks.find("ec") is not None
    provider.keys = [ec_key("next")]
    clock[0] = 601
    assert await jwks.find("ec") is None


async def test_a_provider_that_is_away_takes_no_key_away_and_one_that_never_came_is_said() -> None:
    clock, broken = [0.0], [False]

    async def read() -> bytes:
        if broken[0]:
            raise OSError("away")
        return key_set(ec_key())

    jwks = Jwks(read, max_age_s=600, clock=lambda: clock[0])
    assert await jwks.find("ec") is not None
    broken[0], clock[0] = True, 1000.0
    assert await jwks.find("ec") is not None
    with pytest.raises(Unavailable, match="identity provider"):
        await Jwks(read).find("ec")


def test_only_public_signature_keys_of_a_set_are_taken() -> None:
    secret = OctKey.generate_key(256, {"kid": "oct"})
    weak = {**RSAKey.generate_key(2048, {"kid": "weak"}).as_dict(private=False), "n": "0" * 100}
    found = keys_of(
        msgspec.json.encode(
            {
                "keys": [
                    secret.as_dict(private=True),
                    {**ec_key("enc").as_dict(private=False), "use": "enc"},
                    ec_key("private").as_dict(private=True),
                    weak,
                    "no key",
                    {"kty": "EC", "kid": "broken"},
                    {key: value for key, value in ec_key().as_dict(private=False).items() if key != "kid"},
                ]
            }
        )
    )
    assert set(found) == {"private"}
    assert not found["private"].is_private


def test_claims_may_have_other_names() -> None:
    names = Claims(tenant="org.id", groups="realm.roles", scopes="permissions", scope_prefix="millrace:")
    found = identity_of(
        {
            "sub": "ada",
            "org": {"id": "acme"},
            "realm": {"roles": ["b", "a"]},
            "permissions": ["millrace:ask", "x:read"],
        },
        names,
    )
    assert found is not None
    assert (found.tenant, found.groups) == ("acme", ("*", "a", "b"))
    assert found.scopes == {"ask"}


def test_a_token_without_scopes_has_those_of_the_settings() -> None:
    found = identity_of({"sub": "ada", "tenant": "acme"}, Claims(default_scopes=("ask",)))
    assert found is not None
    assert found.scopes == {"ask"}


def test_no_person_has_the_name_of_a_key() -> None:
    assert identity_of({"sub": "crawler", "tenant": "acme"}, Claims()) is not None
    assert identity_of({"sub": "key:crawler", "tenant": "acme"}, Claims()) is None
