"""Who calls, from what the request carries: a token of a person, the key of a service, or a demo person by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from fastapi import Request

from gateway.admission import Admission
from gateway.guarding import RATE
from gateway.identity import Identity, Scope
from gateway.people import People
from gateway.problems import Problem, unauthenticated

Verifier = Callable[[str], Awaitable[Identity | None]]
"""``await verifier(credential)``: its identity; None for one that is not valid, or not of this kind."""
_NAMES: Final = ("authorization", "x-api-key")
_MAX_CHARS: Final = 8192


class Identification:
    """Implements ``identify`` of `gateway.service.Service`.

    Parameters
    ----------
    verifiers : sequence of Verifier
        Asked in order.
    admission : Admission
        Counts requests of tenants.
    people : People, optional
        Persons of a demo, for requests without a credential.
    """

    def __init__(self, verifiers: Sequence[Verifier], admission: Admission, people: People | None = None) -> None:
        self._verifiers = tuple(verifiers)
        self._admission = admission
        self._people = people

    async def __call__(self, request: Request, scope: Scope) -> Identity:
        """Identity of the caller.

        Raises
        ------
        Problem
            401 for a credential that is missing or not valid, 403 without the scope, 429 when the tenant has used up
            what it may.
        """
        identity = await self._verified(request)
        if identity is None:
            raise unauthenticated()
        request.scope.setdefault("state", {})[RATE] = self._admission.request(identity)
        if scope not in identity.scopes:
            raise Problem(403, "forbidden", f"this token or key lacks the scope {scope!r}")
        return identity

    async def _verified(self, request: Request) -> Identity | None:
        if any(name in request.headers for name in _NAMES):
            credential = credential_of(request)
            for verify in self._verifiers if credential else ():
                if (found := await verify(credential)) is not None:
                    return found
            return None
        return None if self._people is None else self._people.of(request)


def credential_of(request: Request) -> str:
    """Token or key of a request; empty where there is none, or more than one."""
    given = request.headers.getlist("authorization")
    keys = request.headers.getlist("x-api-key")
    if len(given) + len(keys) != 1:
        return ""
    if keys:
        return keys[0] if len(keys[0]) <= _MAX_CHARS else ""
    scheme, _, credential = given[0].partition(" ")
    credential = credential.strip()
    return credential if scheme.lower() == "bearer" and len(credential) <= _MAX_CHARS else ""
