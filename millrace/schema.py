"""Derive Avro schemas from event classes: one definition, the other rendered.

Avro types: ``str``, ``bool``, ``bytes``, ``int`` (long), ``float`` (double), ``datetime`` (timestamp-micros),
``tuple[T, ...]`` (array), ``dict[str, T]`` (map), ``T | None`` (union with null), nested ``msgspec.Struct`` (record),
``Literal[...]`` of strings (string; the values stand in the documentation, because Avro enums cannot grow).
"""

import datetime as dt
import hashlib
import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from fastavro.schema import to_parsing_canonical_form

from millrace.errors import ConfigurationError
from millrace.event import Event

_PRIMITIVES: dict[Any, Any] = {
    str: "string",
    bool: "boolean",
    bytes: "bytes",
    int: "long",
    float: "double",
    dt.datetime: {"type": "long", "logicalType": "timestamp-micros"},
}


def avro_schema(event: type[Event]) -> dict[str, Any]:
    """Render the Avro schema of an event class, documentation and defaults included.

    Raises
    ------
    ConfigurationError
        If a field has a type outside the contract's vocabulary.
    """
    return _record(event, event.namespace, set())


def render(schema: dict[str, Any]) -> str:
    """Text of an ``.avsc`` file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def fingerprint(schema: dict[str, Any]) -> str:
    """SHA-256 of the canonical form and the defaults, in hex: what the lock holds.

    Parsing canonical form drops defaults and documentation; defaults matter to readers, so they are added.
    """
    canonical = to_parsing_canonical_form(json.loads(json.dumps(schema)))
    return hashlib.sha256((canonical + json.dumps(_defaults(schema), sort_keys=True)).encode()).hexdigest()


def schema_id(schema: dict[str, Any]) -> int:
    """Embedded id of a schema: 31 bits of its fingerprint, never 0."""
    return (int(fingerprint(schema)[:8], 16) & 0x7FFFFFFF) or 1


def _defaults(schema: Any) -> list[Any]:
    if isinstance(schema, dict) and schema.get("type") == "record":
        return [[f["name"], f.get("default", "-"), _defaults(f["type"])] for f in schema["fields"]]
    if isinstance(schema, dict):
        return _defaults(schema.get("items") or schema.get("values"))
    if isinstance(schema, list):
        return [found for branch in schema if (found := _defaults(branch))]
    return []


def _record(struct: type[msgspec.Struct], namespace: str, seen: set[str]) -> dict[str, Any]:
    seen.add(struct.__name__)
    fields = []
    for info in msgspec.structs.fields(struct):
        kind, doc = _annotation(info.type)
        field: dict[str, Any] = {
            "name": info.name,
            "type": _type(kind, namespace, seen, f"{struct.__name__}.{info.name}"),
        }
        if doc:
            field["doc"] = doc
        if info.default is not msgspec.NODEFAULT:
            field["default"] = _default(info.default)
        elif info.default_factory is not msgspec.NODEFAULT:
            field["default"] = _default(info.default_factory())
        fields.append(field)
    doc = (struct.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
    return {"type": "record", "name": struct.__name__, "namespace": namespace, "doc": doc, "fields": fields}


def _annotation(kind: Any) -> tuple[Any, str]:
    """Split ``Annotated[T, "documentation"]``; a Literal's values are appended to its documentation."""
    doc = ""
    if get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        doc = next((note for note in notes if isinstance(note, str)), "")
    if get_origin(kind) is Literal:
        doc = f"{doc} One of: {', '.join(get_args(kind))}.".strip()
    return kind, doc


def _type(kind: Any, namespace: str, seen: set[str], where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    if origin is Literal and all(isinstance(value, str) for value in args):
        return "string"
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _type(args[0], namespace, seen, where)}
    if origin is dict and args[0] is str:
        return {"type": "map", "values": _type(args[1], namespace, seen, where)}
    if origin in (Union, types.UnionType) and type(None) in args and len(args) == 2:
        inner = next(arg for arg in args if arg is not type(None))
        return ["null", _type(inner, namespace, seen, where)]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"{namespace}.{kind.__name__}" if kind.__name__ in seen else _record(kind, namespace, seen)
    message = (
        f"field {where} has type {kind!r}, which the event contract does not know; "
        "use str, bool, bytes, int, float, datetime, tuple[T, ...], dict[str, T], T | None, a Literal or a Struct"
    )
    raise ConfigurationError(message)


def _default(value: Any) -> Any:
    plain = msgspec.to_builtins(value)
    return list(plain) if isinstance(plain, tuple) else plain
