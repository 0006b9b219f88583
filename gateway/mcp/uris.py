"""Addresses of source texts as resources: pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

TEMPLATE: Final = "millrace://documents/{document}/versions/{version}"
_URI: Final = re.compile(r"millrace://documents/([^/?#]+)/versions/([0-9]{1,18})")
_MAX_CHARACTERS: Final = 4096


def uri_of(document: str, version: int) -> str:
    """Address of the text of a version; a document's id is percent-encoded, its slashes too."""
    return f"millrace://documents/{quote(document, safe='')}/versions/{version}"


def place_of(uri: str) -> tuple[str, int] | None:
    """Document and version of an address; None for any other one. A document is a name here, never a path."""
    found = _URI.fullmatch(uri) if len(uri) <= _MAX_CHARACTERS else None
    return (unquote(found[1]), int(found[2])) if found else None
