"""Who asks, as a verified token or key says; nothing else in a request can."""

from __future__ import annotations

from typing import Literal

import msgspec

from millrace.groups import EVERYONE

OF_KEY = "key:"
"""Begins the user of a service; no person's name does, or its questions would be that person's own."""
Scope = Literal["ask", "write", "access", "read"]
"""What a token may do: ask questions, write documents, change access, read documents and traces."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of a request.

    Attributes
    ----------
    tenant : str
        Whose documents and questions; a request cannot name another.
    user : str
        Who, within the tenant: a person's name, or ``key:`` and the name of a service's key.
    groups : tuple of str
        Groups in force, sorted, with ``*``.
    kind : {"person", "service"}
        Token of a person, or key of a service.
    scopes : frozenset of str
        What the caller may do.
    """

    tenant: str
    user: str = ""
    groups: tuple[str, ...] = (EVERYONE,)
    kind: Literal["person", "service"] = "person"
    scopes: frozenset[Scope] = frozenset({"ask", "read"})
