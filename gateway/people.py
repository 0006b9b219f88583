"""Persons of a demo, who log in by saying their name: for a gateway that only this machine can reach.

A browser sends the name as a cookie, which other sites must not make use of: a request that changes something counts
only when it comes from the gateway's own pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
from fastapi import Request

from gateway.identity import EVERYONE, Identity
from gateway.tokens import SCOPES

COOKIE: Final = "millrace_person"
HEADER: Final = "x-demo-person"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


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
        """Who a request says it is from; None where it names nobody that is known."""
        name = request.headers.get(HEADER, "")
        if not name:
            name = request.cookies.get(COOKIE, "")
            if request.method not in _SAFE and not _from_here(request):
                return None
        person = self._people.get(name)
        if person is None:
            return None
        return Identity(
            tenant=person.tenant,
            user=person.name,
            groups=tuple(sorted({EVERYONE, *person.groups})),
            kind="person",
            scopes=SCOPES,
        )


def _from_here(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host", "")
