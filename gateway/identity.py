"""Who asks, as a verified token or key says; nothing else in a request can."""

from __future__ import annotations

from typing import Literal

import msgspec

EVERYONE = "*"
Scope = Literal["ask", "write", "access", "read"]
"""What a token may do: ask questions, write documents, change access, read documents and traces."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of a request.

    Attributes
    ----------
    tenant : str
        Whose documents and questions; a request cannot name another.
    user : str
        Who, within the tenant; empty for a service that acts for nobody in particular.
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
