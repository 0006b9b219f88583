"""Persons of a demo, who log in by saying their name: for a gateway that only this machine can reach.

They say it in a header, which no page of another site can send without being asked first, and under a name of this
machine alone: a foreign name may be rebound to it. The gateway's own pages keep the name in a sealed cookie of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from fastapi import Request

from gateway.identity import Identity
from gateway.tokens import SCOPES
from millrace.groups import EVERYONE

HEADER: Final = "x-demo-person"
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Someone to be in a demo."""

    name: str
    tenant: str
    groups: tuple[str, ...] = ()


class People:
    """Who can be chosen.

    Parameters
    ----------
    people : sequence of Person
        Names must be different.
    """

    def __init__(self, people: Sequence[Person]) -> None:
        self._people = {each.name: each for each in people}
        if len(self._people) != len(people):
            raise ValueError("two persons of the demo have the same name")

    @property
    def all(self) -> tuple[Person, ...]:
        """Everyone, in their order."""
        return tuple(self._people.values())

    def of(self, request: Request) -> Identity | None:
        """Who a request says it is from; None where it names nobody that is known, or calls another host than this."""
        person = self._people.get(request.headers.get(HEADER, ""))
        if person is None or (request.url.hostname or "") not in LOCAL:
            return None
        return Identity(
            tenant=person.tenant,
            user=person.name,
            groups=tuple(sorted({EVERYONE, *person.groups})),
            kind="person",
            scopes=SCOPES,
        )
