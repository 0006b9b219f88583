"""Who calls, from what the request carries: a token of a person, the key of a service, or a demo person by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import Request

from gateway.admission import Admission
from gateway.guarding import RATE
from gateway.identity import Identity, Scope
from gateway.problems import Problem, unauthenticated

Verifier = Callable[[str], "Identity | None"]
"""Identity of a credential; None for one that is not valid, or not of this kind."""
_MAX_CHARS = 8192


class Identification:
    """Implements ``identify`` of `gateway.service.Service`.

    Parameters
    ----------
    verifiers : sequence of Verifier
        Asked in order.
    admission : Admission
        Counts requests of tenants.
    """

    def __init__(self, verifiers: Sequence[Verifier], admission: Admission) -> None:
        self._verifiers = tuple(verifiers)
        self._admission = admission

    async def __call__(self, request: Request, scope: Scope) -> Identity:
        """Identity of the caller.

        Raises
        ------
        Problem
            401 for a credential that is missing or not valid, 403 without the scope, 429 when the tenant has used up what
            it may.
        """
        identity = self.verified(credential_of(request))
        if identity is None:
            raise unauthenticated()
        request.scope.setdefault("state", {})[RATE] = self._admission.request(identity)
        if scope not in identity.scopes:
            raise Problem(403, "forbidden", f"this token or key lacks the scope {scope!r}")
        return identity

    def verified(self, credential: str) -> Identity | None:
        """Identity of a credential; None when nobody vouches for it."""
        if not credential:
            return None
        return next((found for verify in self._verifiers if (found := verify(credential)) is not None), None)


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
