"""What a row of a table becomes, however it was read: part of an id, text below a title, or all of it as JSON."""

import json
from collections.abc import Mapping
from typing import Any


def id_part(value: Any) -> str:
    """Value of a key column as one part of a document's id: it holds no slash, so parts stay apart."""
    return str(value).replace("%", "%25").replace("/", "%2F")


def titled(title: Any, text: str) -> str:
    """Text below its title: a new title is new content, and every chunk knows it."""
    heading = " ".join(str(title or "").split())
    if not heading or text.lstrip().partition("\n")[0].strip() == f"# {heading}":
        return text
    return f"# {heading}\n\n{text}"


def row_as_json(row: Mapping[str, Any]) -> bytes:
    """A whole row as one line of JSON."""
    return json.dumps(row, ensure_ascii=False, default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return f"{len(bytes(value))} bytes"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
