"""Schemas of a running stack, by id, in the folder of its object store: a registry for profiles that have none.

Writers publish what they write when they start, so that in a rolling upgrade an older reader can resolve records of a
newer writer. Files are written once and never changed.
"""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException

from millrace.codec import Codec
from millrace.schema import schema_id
from millrace.schema_lock import released


def publish(folder: Path, codec: Codec) -> int:
    """Write the schemas that `codec` encodes with under ``<folder>/schemas``; gives how many were new."""
    target = folder / "schemas"
    target.mkdir(parents=True, exist_ok=True)
    missing = {number: schema for number, schema in codec.schemas().items() if not (target / f"{number}.avsc").exists()}
    for number, schema in missing.items():
        partial = target / f".{number}.{secrets.token_hex(4)}"
        partial.write_text(json.dumps(schema))
        partial.replace(target / f"{number}.avsc")
    return len(missing)


def writers(folder: Path) -> Callable[[int], dict[str, Any] | None]:
    """``writers`` for a Codec: the committed lock first, then the folder.

    A file whose content does not have the id it is named by is not used: it is broken or was tampered with.
    """

    def find(number: int) -> dict[str, Any] | None:
        known = released().writer(number)
        path = folder / "schemas" / f"{number}.avsc"
        if known is not None or not path.exists():
            return known
        try:
            schema: dict[str, Any] = json.loads(path.read_text())
            return schema if schema_id(schema) == number else None
        except (ValueError, KeyError, TypeError, AttributeError, SchemaParseException):
            return None

    return find
