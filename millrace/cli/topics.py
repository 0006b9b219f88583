"""``millrace topics``, ``tail`` and ``produce``: look at the log and write to it."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from millrace.cli.application import Json, Modules, app, catalogue, connection_of, topic_named
from millrace.cli.output import UsageError, document, one_line, plain, say, show, table
from millrace.cli.times import start_of
from millrace.topics import Topic

_WIDTH = 400


@app.command(epilog="Example: millrace topics")
def topics(context: typer.Context, agents: Modules = None, as_json: Json = False) -> None:
    """List topics: what they carry, how they are kept, how much is in them."""
    from millrace.positions import log_sizes

    sizes = log_sizes(connection_of(context))
    known = catalogue(agents)
    rows = [_topic_row(name, topic, sizes.get(name)) for name, topic in known.items()]
    letters = {topic.dead_letters for topic in known.values()}
    rows += [_topic_row(name, None, sizes[name]) for name in sorted(sizes) if name not in known and name not in letters]
    waiting = {
        name: sum(sizes[name].values()) for name in sorted(letters) if name in sizes and any(sizes[name].values())
    }

    def render() -> None:
        columns = ("topic", "# partitions", "# records", "key", "kept", "events")
        table(columns, [[row[column.removeprefix("# ")] for column in columns] for row in rows])
        for name, n in waiting.items():
            say(f"{n} dead letters in {name}: see `millrace dlq list`")

    show({"topics": rows, "dead_letters": waiting}, render, as_json=as_json)


@app.command(epilog="Example: millrace tail corpus.source.changed.v1 -f")
def tail(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="Topic; a part of the name that only one has is enough.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records until interrupted.")] = False,
    since: Annotated[str, typer.Option("--from", help="beginning, end, a time, or an age such as 15m.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Newest records, where --from is not given.")] = 10,
    lines: Annotated[bool, typer.Option("--lines", help="One JSON object a line; may be followed.")] = False,
    agents: Modules = None,
    as_json: Json = False,
) -> None:
    """Print the records of a topic, decoded."""
    if follow and as_json:
        raise UsageError("--json ends with one document and --follow does not end; use --lines")
    from millrace.positions import Last

    name = topic.removesuffix(".dlq")
    found = topic_named(name, agents)
    start = start_of(since) if since else Last(count)
    where = found.dead_letters if topic.endswith(".dlq") else found.name
    records = _records(context, found, where, start, follow=follow)
    if not follow:
        ordered = sorted(records, key=lambda row: (row["timestamp_ms"], row["partition"], row["offset"]))
        records = iter(ordered if since else ordered[-count:])
    if as_json:
        document({"topic": where, "records": list(records)})
        return
    for row in records:
        if lines:
            document(row, indent=None)
        else:
            _print(row)


@app.command(epilog="""Example: millrace produce acl.changed --data '{"tenant": "default", "document": "a.md", ...}'""")
def produce(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="Topic; a part of the name that only one has is enough.")],
    data: Annotated[
        list[str] | None, typer.Option(help="One event as JSON; repeatable. Else lines of JSON from stdin.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read lines of JSON from here.")] = None,
    agents: Modules = None,
    as_json: Json = False,
) -> None:
    """Write events, checked against the schema: one JSON object each.

    Where a topic carries several types, "type" names the class. Nothing is sent unless all lines are right.
    """
    found = topic_named(topic, agents)
    events = [_event(found, text, number) for number, text in enumerate(_lines(data, file), 1) if text.strip()]
    if not events:
        raise UsageError("there is nothing to produce; give --data, --file or lines on standard input")
    produced = asyncio.run(_produce(context, found, events))
    rows = [{"id": one.id, "position": str(one.origin)} for one in produced]

    def render() -> None:
        for row in rows:
            say(f"{row['position']}  {row['id']}")

    show({"topic": found.name, "produced": rows}, render, as_json=as_json)


async def _produce(context: typer.Context, topic: Topic, events: list[Any]) -> list[Any]:
    from millrace.client import Millrace

    async with Millrace(connection_of(context)) as client:
        return [await client.produce(event, topic) for event in events]


def _lines(data: list[str] | None, file: Path | None) -> list[str]:
    if data:
        return data
    if file is not None:
        try:
            return file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
    return sys.stdin.read().splitlines()


def _event(topic: Topic, text: str, number: int) -> Any:
    names = {event.__name__: event for event in topic.events}
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"line {number} is no JSON object: {error}") from error
    kind = fields.pop("type", None) if len(names) > 1 else next(iter(names))
    if kind not in names:
        raise UsageError(f'line {number} needs "type", one of {", ".join(names)}; found {kind!r}')
    event = names[kind]
    allowed = {info.name for info in msgspec.structs.fields(event)}
    if unknown := sorted(set(fields) - allowed):
        raise UsageError(f"line {number}: {kind} has no field {unknown[0]!r}; it has {', '.join(sorted(allowed))}")
    try:
        return msgspec.convert(fields, event)
    except msgspec.ValidationError as error:
        raise UsageError(f"line {number} is no {kind}: {error}") from error


def _records(context: typer.Context, topic: Topic, where: str, start: Any, *, follow: bool) -> Iterator[dict[str, Any]]:
    from millrace.contract import codec_of
    from millrace.errors import ContractError
    from millrace.reader import LogReader, decode
    from millrace.times import iso

    connection = connection_of(context)
    codec = codec_of(connection, [*catalogue_events(), *topic.events])
    with LogReader(connection, [where], start=start, stop="never" if follow else "now") as reader:
        for record in reader:
            row: dict[str, Any] = {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "time": iso(record.timestamp_ms),
                "key": (record.key or b"").decode("utf-8", "replace"),
                "headers": {name: value.decode("utf-8", "replace") for name, value in record.headers},
            }
            try:
                event = decode(codec, record, topic)
                row |= {"type": type(event).__name__, "event": msgspec.to_builtins(event)}
            except ContractError as error:
                row |= {"type": None, "error": str(error), "n_bytes": len(record.value or b"")}
            yield row


def catalogue_events() -> list[Any]:
    """Event classes of Millrace's topics."""
    return [event for topic in catalogue().values() for event in topic.events]


def _print(row: dict[str, Any]) -> None:
    say(
        f"{row['time']}  {row['topic']}/{row['partition']}/{row['offset']}  {row['type'] or 'UNREADABLE'}  {row['key']}"
    )
    if row["type"] is None:
        say(f"    {row['error']} ({row['n_bytes']} bytes)")
        return
    for name, value in row["event"].items():
        if value not in (None, "", [], {}, ()):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            say(f"    {name}: {one_line(plain(text), _WIDTH)}")


def _topic_row(name: str, topic: Topic | None, sizes: dict[int, int] | None) -> dict[str, Any]:
    kept = (
        "" if topic is None else "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms / 86_400_000:g} days"
    )
    if topic is not None and topic.cleanup == "compact":
        kept = f"newest of each key after {kept}"
    return {
        "topic": name,
        "partitions": len(sizes) if sizes is not None else "missing",
        "records": sum(sizes.values()) if sizes is not None else 0,
        "key": topic.group if topic else "",
        "kept": kept,
        "events": ", ".join(event.__name__ for event in topic.events) if topic else "not in the catalogue",
    }
