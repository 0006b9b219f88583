"""Persons and services as tests send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.identifying import Verifier
from gateway.identity import EVERYONE, Identity


@dataclass
class Callers:
    """Makes credentials, and knows whose they are."""

    _known: dict[str, Identity] = field(default_factory=dict)

    def bearer(
        self,
        user: str = "ada",
        *,
        tenant: str,
        groups: Sequence[str] = (),
        scopes: Sequence[Any] = ("ask", "read", "write", "access"),
    ) -> dict[str, str]:
        """Headers of a person."""
        found = Identity(tenant=tenant, user=user, groups=tuple(sorted({EVERYONE, *groups})), scopes=frozenset(scopes))
        token = msgspec.json.encode([tenant, user, sorted(groups), sorted(scopes)]).hex()
        self._known[token] = found
        return {"Authorization": f"Bearer {token}"}

    def verifiers(self) -> Sequence[Verifier]:
        """Who vouches for them."""
        return (self._known.get,)
