"""Register the contract with a schema registry: a step of deployment, never of an app or a worker.

Every released version of every event goes under the subject of each topic that carries it, oldest first, and the
registry is told to accept only what all of them could follow (FULL_TRANSITIVE). Doing so again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from infra.launch.home import write_private
from millrace.errors import ConfigurationError, IncompatibleSchema
from millrace.registry import Refused, Registry, subject_of, text_of
from millrace.schema import avro_schema, fingerprint
from millrace.schema_lock import SchemaLock
from millrace.topics import Topic

COMPATIBILITY: Final = "FULL_TRANSITIVE"
_NOT_FOUND: Final = (40401, 40408, int(HTTPStatus.NOT_FOUND))
_INCOMPATIBLE: Final = (int(HTTPStatus.CONFLICT), 42201)
"""Codes of a refused schema: incompatible; invalid by the rules of the subject."""


@dataclass(frozen=True)
class Registration:
    """What `register` found or did.

    Attributes
    ----------
    ids : mapping of str to int
        Id of each version, by subject and SHA-256 of its text.
    added : tuple of str
        Those that were not there before, as ``<subject> <id>``.
    """

    ids: Mapping[str, int]
    added: tuple[str, ...]


def register(
    registry: Registry,
    topics: Iterable[Topic],
    locks: Iterable[SchemaLock],
    *,
    notes: Path | None = None,
    log_epoch: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Registration:
    """Make a registry hold and guard the schemas of topics.

    Parameters
    ----------
    registry : Registry
        With credentials that may write.
    topics : iterable of Topic
        Each event of each topic is registered.
    locks : iterable of SchemaLock
        Released versions; an event that stands in none is registered as it is now.
    notes : Path, optional
        File of the ids given before. Records carry them, so a registry that knows one of them not, or as another
        schema, has lost its content or is another one; that is refused before anything is written to it.
    log_epoch : str
        Which log the notes are about.
    progress : callable
        Receives a line when something was added.

    Raises
    ------
    IncompatibleSchema
        The registry refuses a version; nothing after it is registered.
    ConfigurationError
        It does not allow this, or its ids are not those that records were written with.
    Unavailable
        It does not answer.
    """
    noted = _read(notes) if notes is not None else {}
    meanings = dict(noted.get(log_epoch, {}))
    for given, meaning in meanings.items():
        found = registry.schema(given)
        _same(registry, given, meaning, _meaning(found) if found is not None else "unknown")
    _demand(registry, "/config")
    ids: dict[str, int] = {}
    added: list[str] = []
    known = tuple(locks)
    try:
        for topic in topics:
            for event in topic.events:
                subject = subject_of(topic, event)
                _demand(registry, f"/config/{quote(subject, safe='')}", missing_ok=True)
                for schema in _versions(event.type_name(), avro_schema(event), known):
                    name = f"{subject} {hashlib.sha256(text_of(schema).encode()).hexdigest()}"
                    number = registry.lookup(subject, schema)
                    if number is None:
                        number = _add(registry, subject, schema)
                        added.append(f"{subject} {number}")
                    ids[name] = number
                    meaning = _meaning(schema)
                    _same(registry, number, meanings.setdefault(number, meaning), meaning)
                _demand(registry, f"/config/{quote(subject, safe='')}")
    finally:  # what was given so far, workers may write with
        if notes is not None:
            written = {**noted, log_epoch: dict(sorted(meanings.items()))}
            write_private(notes, msgspec.json.format(msgspec.json.encode(written), indent=1).decode() + "\n")
    if added:
        progress(f"registered {len(added)} schema versions with {registry.access.url}")
    return Registration(ids, tuple(added))


def _versions(name: str, current: dict[str, Any], locks: Iterable[SchemaLock]) -> list[dict[str, Any]]:
    """Released versions, oldest first, and last the current one."""
    released = [lock.schema(version) for lock in locks for version in lock.events.get(name, ())]
    return [*(schema for schema in released if schema != current), current]


def _demand(registry: Registry, path: str, *, missing_ok: bool = False) -> None:
    """Set the compatibility, globally or of a subject, where it is another; a subject may not be there yet."""
    try:
        found = registry.request("GET", path)
    except Refused as error:
        if error.code not in _NOT_FOUND:
            raise
        found = {}
    if found.get("compatibilityLevel") == COMPATIBILITY:
        return
    try:
        registry.request("PUT", path, {"compatibility": COMPATIBILITY})
    except Refused as error:
        if not missing_ok or error.code not in _NOT_FOUND:
            raise


def _add(registry: Registry, subject: str, schema: dict[str, Any]) -> int:
    path = f"/subjects/{quote(subject, safe='')}/versions"
    try:
        return int(registry.request("POST", path, {"schema": text_of(schema)})["id"])
    except Refused as error:
        if error.code not in _INCOMPATIBLE:
            raise
        raise IncompatibleSchema(
            f"{error}; old and new readers could not follow it: see schemas/README.md for how an event may change"
        ) from error


def _meaning(schema: dict[str, Any]) -> str:
    """What an id stands for, however a registry writes the schema down: its name, and the fingerprint it is read by."""
    return f"{schema.get('namespace', '')}.{schema['name']} {fingerprint(schema)[:16]}"


def _same(registry: Registry, number: int, before: str, found: str) -> None:
    if found != before:
        raise ConfigurationError(
            f"id {number} of the schema registry at {registry.access.url} is {found}, and records on the log were "
            f"written with it as {before}: the registry has lost its content or is another one, and they would be read "
            "with the wrong schema; restore its data, or start with a new log"
        )


def _read(notes: Path) -> dict[str, dict[int, str]]:
    """What ids stand for, by log."""
    try:
        return msgspec.json.decode(notes.read_bytes(), type=dict[str, dict[int, str]])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{notes} cannot be read ({error}); restore it, or remove it with the log") from error
