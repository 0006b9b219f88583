"""Render the `.avsc` files and the lock from the event classes, and refuse a change that readers cannot follow.

``python -m tools.schemas``          check: files in step with the code, every change FULL_TRANSITIVE
``python -m tools.schemas --write``  render again; a compatible change becomes a new version in the lock
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from millrace.errors import IncompatibleSchema
from millrace.event import Event
from millrace.schema import avro_schema, fingerprint, render, schema_id
from millrace.schema_lock import FORMAT, SchemaLock, Version
from millrace.topics import CATALOGUE

FOLDER = Path(__file__).parent.parent / "schemas"


def require_full_transitive(name: str, new: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> None:
    """Refuse `new` unless it reads what every earlier version wrote, and they read what it writes.

    Raises
    ------
    IncompatibleSchema
        Naming the event, the direction and the remedy.
    """
    for number, old in enumerate(earlier, start=1):
        for reader, writer, direction in ((new, old, "new code cannot read"), (old, new, "running code cannot read")):
            found = ReaderWriterCompatibilityChecker().get_compatibility(
                parse(json.dumps(reader)), parse(json.dumps(writer))
            )
            if found.compatibility is not SchemaCompatibilityType.compatible:
                what = "version " + str(number) if direction.startswith("new") else "the new version"
                message = (
                    f"{name}: {direction} {what}: {'; '.join(sorted(found.messages))}. "
                    "Give added fields a default, never change a type or remove a field without one; "
                    "a change that cannot be compatible is a new event on a new topic"
                )
                raise IncompatibleSchema(message)


def evolve(lock: SchemaLock, events: Iterable[type[Event]]) -> tuple[SchemaLock, dict[str, str]]:
    """Extend `lock` by what the classes say now.

    Returns
    -------
    SchemaLock
        The lock with a new version for each changed event.
    dict of str to str
        Text of every file that should stand beside it, by relative path.

    Raises
    ------
    IncompatibleSchema
        If a change breaks FULL_TRANSITIVE, two schemas share an id, or a file of the lock is not the version it names.
    """
    versions: dict[str, tuple[Version, ...]] = {}
    files: dict[str, str] = {}
    for event in events:
        name, schema = event.type_name(), avro_schema(event)
        known = lock.events.get(name, ())
        earlier = [lock.schema(version) for version in known]
        current = Version(schema_id(schema), fingerprint(schema), f"{name}.avsc")
        if known and known[-1].fingerprint == current.fingerprint:
            _require_as_locked(known[:-1], earlier)
            versions[name] = known
            files |= {old.file: render(text) for old, text in zip(known[:-1], earlier, strict=False)}
        else:
            _require_as_locked(known, earlier)
            require_full_transitive(name, schema, earlier)
            moved = [msgspec.structs.replace(old, file=f"history/{name}.{old.id}.avsc") for old in known]
            versions[name] = (*moved, current)
            files |= {old.file: render(text) for old, text in zip(moved, earlier, strict=True)}
        files[current.file] = render(schema)
    numbers = [version.id for found in versions.values() for version in found]
    if len(numbers) != len(set(numbers)):
        message = "two schemas share an embedded id; rename a field of the newer one"
        raise IncompatibleSchema(message)
    return SchemaLock(lock.folder, versions), files


def _require_as_locked(versions: Iterable[Version], schemas: Iterable[dict[str, Any]]) -> None:
    """Refuse to keep a file as an earlier version that it is not: records of that version could not be read."""
    for version, schema in zip(versions, schemas, strict=False):
        found = fingerprint(schema)
        if found != version.fingerprint:
            raise IncompatibleSchema(
                f"schemas/{version.file} has fingerprint {found[:12]}, the lock says {version.fingerprint[:12]} for id "
                f"{version.id}; restore the file of that version from version control"
            )


def lock_text(lock: SchemaLock) -> str:
    """Text of ``lock.json``."""
    return json.dumps({"format": FORMAT, "events": msgspec.to_builtins(lock.events)}, indent=2) + "\n"


def stale(folder: Path, files: dict[str, str]) -> list[str]:
    """Relative paths whose text on disk differs from what the code says, or that should not be there."""
    differing = [
        name for name, text in files.items() if not (folder / name).exists() or (folder / name).read_text() != text
    ]
    extra = [
        str(path.relative_to(folder)) for path in folder.rglob("*.avsc") if str(path.relative_to(folder)) not in files
    ]
    return sorted(differing + extra)


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Check or write; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="render files and lock again")
    write = parser.parse_args(arguments).write
    events = dict.fromkeys(event for topic in CATALOGUE.values() for event in topic.events)
    try:
        lock, files = evolve(SchemaLock.load(folder), events)
    except IncompatibleSchema as error:
        sys.stderr.write(f"refused: {error}\n")
        return 1
    files["lock.json"] = lock_text(lock)
    found = stale(folder, files)
    if not write:
        for name in found:
            sys.stderr.write(
                f"schemas/{name} is not what the event classes say; run `python -m tools.schemas --write`\n"
            )
        return 1 if found else 0
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in found:
        if name not in files:
            (folder / name).unlink()
    sys.stdout.write(f"schemas: {len(files) - 1} files, {len(found)} changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
