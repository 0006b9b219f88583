"""``millrace dlq``: records that could not be processed."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Modules, app, catalogue, connection_of, topic_named
from millrace.cli.output import NotInLog, UsageError, one_line, say, show, table
from millrace.cli.times import start_of
from millrace.dead_letters import REPLAYED, SUFFIX, Letter, replayed
from millrace.topics import Topic

dlq_app = typer.Typer(help="Look at dead letters and put them back.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(dlq_app, name="dlq")

_PREVIEW_BYTES = 256
Since = Annotated[str, typer.Option("--from", help="Letters from here on: a time, or an age such as 2h.")]
Name = Annotated[str, typer.Argument(help="Letter, topic/partition/offset, as `dlq list` prints it.")]


@dlq_app.command("list", epilog="Example: millrace dlq list source.changed")
def list_letters(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="Source topic; all when empty.")] = "",
    since: Since = "beginning",
    everything: Annotated[bool, typer.Option("--all", help="Those that were put back as well.")] = False,
    agents: Modules = None,
    as_json: Json = False,
) -> None:
    """List dead letters with what went wrong; letters that were put back are left out."""
    topics = _topics(topic, agents)
    letters = _letters(context, topics, since)
    back = _replayed(context, {letter.source for letter in letters})
    rows = [
        {**_row(letter), "replayed": letter.id in back} for letter in letters if everything or letter.id not in back
    ]

    def render() -> None:
        columns = ("letter", "type", "stage", "attempt", "trace-id", "message")
        if rows:
            table(columns, [[row.get(name, "") for name in columns] for row in rows])
        say(f"{len(rows)} dead letters" + (f", {len(back)} put back before" if back and not everything else ""))

    show({"letters": rows}, render, as_json=as_json)


@dlq_app.command("show", epilog="Example: millrace dlq show corpus.source.changed.v1.dlq/2/17")
def show_letter(context: typer.Context, letter: Name, agents: Modules = None, as_json: Json = False) -> None:
    """Show one dead letter: why it is here, its headers, its content decoded or in hex."""
    found = _one(context, letter, agents)
    data = _row(found) | _content(context, found, agents)

    def render() -> None:
        for name, value in data.items():
            if isinstance(value, dict):
                say(f"{name}:")
                for key, inner in value.items():
                    say(f"    {key}: {one_line(inner, 400)}")
            else:
                say(f"{name}: {one_line(value, 2000)}")

    show(data, render, as_json=as_json)


@dlq_app.command(epilog="Example: millrace dlq replay corpus.source.changed.v1.dlq/2/17")
def replay(
    context: typer.Context,
    letters: Annotated[list[str] | None, typer.Argument(help="Letters, topic/partition/offset.")] = None,
    topic: Annotated[str, typer.Option(help="All letters of this source topic that were not put back yet.")] = "",
    error_type: Annotated[str, typer.Option("--type", help="With --topic: only letters with this error type.")] = "",
    agents: Modules = None,
    as_json: Json = False,
) -> None:
    """Put dead letters back into their source topics: the original bytes, key and headers.

    Doing so twice changes nothing, because a letter keeps its identity. A question goes back under a new correlation
    id, because its asker has been told of the failure already.
    """
    if bool(letters) == bool(topic):
        raise UsageError("name the letters to put back, or all of a topic with --topic")
    if topic:
        found = _letters(context, _topics(topic, agents), "beginning")
        back = _replayed(context, {letter.source for letter in found})
        found = [letter for letter in found if letter.id not in back]
        found = [letter for letter in found if not error_type or letter.error.get("type") == error_type]
    else:
        found = [_one(context, name, agents) for name in letters or ()]
    rows = asyncio.run(_replay(context, found))

    def render() -> None:
        for row in rows:
            again = f" (question, now {row['correlation_id']})" if row["new_identity"] else ""
            say(f"{row['letter']} -> {row['position']}{again}")
        say(f"{len(rows)} letters put back")

    show({"replayed": rows}, render, as_json=as_json)


async def _replay(context: typer.Context, letters: list[Letter]) -> list[dict[str, Any]]:
    from millrace.client import Millrace

    rows = []
    async with Millrace(connection_of(context)) as client:
        for letter in letters:
            record = replayed(letter)
            origin = await client.produce_record(record)
            identity = dict(record.headers).get("ce_id", b"").decode("utf-8", "replace")
            rows.append(
                {
                    "letter": letter.id,
                    "position": str(origin),
                    "new_identity": identity != letter.header("ce_id"),
                    "correlation_id": dict(record.headers).get("ce_correlationid", b"").decode("utf-8", "replace"),
                }
            )
    return rows


def _topics(name: str, agents: list[str] | None) -> list[Topic]:
    return [topic_named(name.removesuffix(SUFFIX), agents)] if name else list(catalogue(agents).values())


def _letters(context: typer.Context, topics: Iterable[Topic], since: str) -> list[Letter]:
    from millrace.positions import log_sizes
    from millrace.reader import LogReader

    connection = connection_of(context)
    sizes = log_sizes(connection)
    names = [topic.dead_letters for topic in topics if any(sizes.get(topic.dead_letters, {}).values())]
    if not names:
        return []
    with LogReader(connection, names, start=start_of(since)) as reader:
        records = sorted(reader, key=lambda record: (record.timestamp_ms, record.topic, record.offset))
    return [Letter.of(record) for record in records]


def _replayed(context: typer.Context, sources: set[str]) -> set[str]:
    """Letters that stand in their source topics again."""
    from millrace.reader import LogReader

    if not sources:
        return set()
    with LogReader(connection_of(context), sorted(sources)) as reader:
        return {found for record in reader if (found := record.header(REPLAYED))}


def _one(context: typer.Context, name: str, agents: list[str] | None) -> Letter:
    from millrace.reader import LogReader

    topic, _, rest = name.partition("/")
    partition, _, offset = rest.partition("/")
    known = {found.dead_letters for found in catalogue(agents).values()}
    if topic not in known or not partition.isdigit() or not offset.isdigit():
        raise UsageError(f"{name!r} is no letter; use topic/partition/offset as `millrace dlq list` prints it")
    place, at = (topic, int(partition)), int(offset)
    with LogReader(connection_of(context), [topic], start={place: at}, stop={place: at + 1}, only=[place]) as reader:
        for record in reader:
            return Letter.of(record)
    raise NotInLog(f"there is no letter at {name}; see `millrace dlq list`")


def _row(letter: Letter) -> dict[str, Any]:
    return {"letter": letter.id, "source": letter.source, **letter.error}


def _content(context: typer.Context, letter: Letter, agents: list[str] | None) -> dict[str, Any]:
    import msgspec

    from millrace.contract import codec_of
    from millrace.errors import ContractError

    topic = catalogue(agents)[letter.source]
    found: dict[str, Any] = {
        "key": (letter.key or b"").decode("utf-8", "replace"),
        "n_bytes": len(letter.value or b""),
        "headers": {name: value.decode("utf-8", "replace") for name, value in letter.headers},
    }
    try:
        found["event"] = msgspec.to_builtins(codec_of(connection_of(context), topic.events).decode(letter.value))
    except ContractError as error:
        found |= {"unreadable": str(error), "starts_with": (letter.value or b"")[:_PREVIEW_BYTES].hex(" ")}
    return found
