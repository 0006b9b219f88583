"""The committed lock: every schema version that was ever released, with its id and fingerprint.

A checkout keeps it in ``schemas/``; the wheel carries the same files in ``millrace/schemas/``. A package with events of
its own keeps a lock of its own and hands its folder to `SchemaLock`.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import ConfigurationError

FORMAT = 1


class Version(msgspec.Struct, frozen=True):
    """One released version of an event's schema.

    Attributes
    ----------
    id : int
        Schema id on the embedded profile, derived from the fingerprint.
    fingerprint : str
        SHA-256, hex, see `millrace.schema.fingerprint`.
    file : str
        Path of the ``.avsc``, relative to the lock.
    """

    id: int
    fingerprint: str
    file: str


class SchemaLock(msgspec.Struct, frozen=True):
    """Released versions by full event name, oldest first; the last one is current."""

    folder: Path
    events: dict[str, tuple[Version, ...]]

    @classmethod
    def load(cls, folder: Path) -> "SchemaLock":
        """Read ``lock.json`` in `folder`; a missing one is an empty lock.

        Raises
        ------
        ConfigurationError
            If it is malformed or of a newer format.
        """
        path = folder / "lock.json"
        if not path.exists():
            return cls(folder, {})
        try:
            plain = json.loads(path.read_text())
            found = plain["format"]
            events = msgspec.convert(plain["events"], dict[str, tuple[Version, ...]])
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            message = f"{path} is no schema lock: {error}; restore it from version control"
            raise ConfigurationError(message) from error
        if found != FORMAT:
            message = f"{path} has format {found}, this Millrace reads {FORMAT}; upgrade Millrace"
            raise ConfigurationError(message)
        return cls(folder, events)

    def schema(self, version: Version) -> dict[str, Any]:
        """Avro schema of a version."""
        loaded: dict[str, Any] = json.loads((self.folder / version.file).read_text())
        return loaded

    def writer(self, schema_id: int) -> dict[str, Any] | None:
        """Avro schema that an id stands for, or None: the ``writers`` of `millrace.codec.Codec`."""
        for versions in self.events.values():
            for version in versions:
                if version.id == schema_id:
                    return self.schema(version)
        return None


@cache
def released() -> SchemaLock:
    """Millrace's own lock."""
    packaged = Path(__file__).parent / "schemas"
    return SchemaLock.load(packaged if packaged.exists() else Path(__file__).parent.parent / "schemas")
