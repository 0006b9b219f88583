"""``millrace review``: what a person should look at, and what was decided about it."""

import asyncio
import getpass
import time
from typing import Annotated, Any, Literal

import msgspec
import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.output import NotInLog, UsageError, note, say, show, table
from millrace.connection import Connection
from millrace.errors import ContractError
from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened
from millrace.reviewing import DECISIONS, decided, decision_meta, fitting, overtaken, standing
from millrace.times import iso

review_app = typer.Typer(
    help="Look at review items and decide about them.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(review_app, name="review")

Item = Annotated[str, typer.Argument(help="Id of the item, or how no other begins.")]
_SOURCE = "millrace/review"


class Entry(msgspec.Struct):
    """An item, and what was decided about it."""

    item: ReviewItemOpened
    opened_at_ms: int
    decisions: list[tuple[int, ReviewDecisionMade]] = []

    @property
    def last(self) -> ReviewDecisionMade | None:
        """The decision that counts."""
        return standing(self.item, self.decisions[-1][1] if self.decisions else None)

    def told(self) -> dict[str, Any]:
        """The item for programs."""
        found: dict[str, Any] = msgspec.to_builtins(self.item)
        made = [
            {"decision": each.decision, "user": each.user, "at": _time(at_ms), "text": each.text}
            for at_ms, each in self.decisions
        ]
        return found | {
            "opened_at": _time(self.opened_at_ms),
            "decisions": made,
            "fitting": list(fitting(self.item, self.last)),
        }


@review_app.command("list", epilog="Example: millrace review list --state all")
def list_items(
    context: typer.Context,
    state: Annotated[Literal["open", "decided", "all"], typer.Option(help="Those without a decision, with one.")] = (
        "open"
    ),
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """List what a person should look at, newest first."""
    found = _entries(connection_of(context), tenant_of(context, tenant))
    chosen = [each for each in found.values() if state == "all" or (state == "open") == (each.last is None)]
    chosen.sort(key=lambda each: each.opened_at_ms, reverse=True)

    def render() -> None:
        if not chosen:
            say("nothing to decide" if state == "open" else "no such items")
            return
        rows = [
            (
                each.item.item,
                f"{each.item.subject_kind} {each.item.subject}",
                each.item.rule,
                each.item.action,
                _time(each.opened_at_ms),
                f"{each.last.decision} by {each.last.user}" if each.last is not None else "",
            )
            for each in chosen
        ]
        table(("item", "about", "rule", "done", "opened", "decided"), rows)

    show({"items": [each.told() for each in chosen]}, render, as_json=as_json)


@review_app.command("show", epilog="Example: millrace review show 1f6c2a9e")
def show_item(context: typer.Context, item: Item, tenant: Tenant = "", as_json: Json = False) -> None:
    """Show one item: what was found where, what was decided, and what may be decided now."""
    found = _find(_entries(connection_of(context), tenant_of(context, tenant)), item)
    show(found.told(), lambda: _render(found), as_json=as_json)


@review_app.command(epilog='Example: millrace review decide 1f6c2a9e correct "Six weeks."')
def decide(
    context: typer.Context,
    item: Item,
    decision: Annotated[str, typer.Argument(help="release, withdraw, confirm, dismiss or correct.")],
    text: Annotated[str, typer.Argument(help="The right answer, or a note.")] = "",
    user: Annotated[str, typer.Option("--as", help="Who decides; else who is logged in here.")] = "",
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Decide about an item. Of one item the last decision counts; the same one again changes nothing."""
    if decision not in DECISIONS:
        raise UsageError(f"{decision!r} is no decision; choose of {', '.join(DECISIONS)}")
    connection = connection_of(context)
    entry = _find(_entries(connection, tenant_of(context, tenant)), item)
    conversation = entry.item.conversation
    if decision == "correct" and not conversation:
        conversation = _conversation(connection, entry.item)
    made = decided(
        entry.item, entry.last, decision, user=user or getpass.getuser(), text=text, conversation=conversation
    )
    if made is None:
        note("that was decided before; nothing is written")
    else:
        asyncio.run(_write(connection, made, entry.last))
        entry.decisions.append((time.time_ns() // 1_000_000, made))
    show(entry.told(), lambda: say(f"{entry.item.item}: {decision}"), as_json=as_json)


def _time(at_ms: int) -> str:
    return iso(at_ms, "seconds")


def _render(found: Entry) -> None:
    item = found.item
    say(f"{item.item}: {item.reason}")
    version = f", version {item.version}" if item.version else ""
    say(f"about the {item.subject_kind} {item.subject}{version}; opened {_time(found.opened_at_ms)}")
    if item.spans:
        say(f"at {', '.join(f'{span.start} to {span.end}' for span in item.spans)}")
    for at_ms, each in found.decisions:
        say(f"{_time(at_ms)} {each.decision} by {each.user}{': ' + each.text if each.text else ''}")
    say(f"may be decided: {', '.join(fitting(item, found.last))}")


def _entries(connection: Connection, tenant: str) -> dict[str, Entry]:
    """Items of a tenant by id."""
    from millrace.contract import codec_of
    from millrace.reader import LogReader, decode
    from millrace.topics import REVIEW_DECISION_MADE, REVIEW_ITEM_OPENED

    codec, found, made = codec_of(connection), dict[str, Entry](), list[tuple[int, ReviewDecisionMade]]()
    with LogReader(connection, [REVIEW_ITEM_OPENED, REVIEW_DECISION_MADE]) as reader:
        for record in reader:
            try:
                event = decode(codec, record)
            except ContractError:
                continue
            if event.tenant != tenant:
                continue
            if isinstance(event, ReviewItemOpened):
                known = found.get(event.item)
                since = record.timestamp_ms if known is None else min(known.opened_at_ms, record.timestamp_ms)
                found[event.item] = Entry(event, since)
            elif isinstance(event, ReviewDecisionMade):
                made.append((record.timestamp_ms, event))
    seen: set[str] = set()
    for at_ms, decision in made:
        known = found.get(decision.item)
        if known is None or decision.meta.id in seen:
            continue
        seen.add(decision.meta.id)
        if not overtaken(known.decisions[-1][1] if known.decisions else None, decision):
            known.decisions.append((at_ms, decision))
    return found


def _find(entries: dict[str, Entry], name: str) -> Entry:
    if name in entries:
        return entries[name]
    begun = [entry for item, entry in entries.items() if name and item.startswith(name)]
    if len(begun) != 1:
        what = "no" if not begun else f"{len(begun)}"
        raise NotInLog(f"{what} review items are called {name!r}; see `millrace review list --state all`")
    return begun[0]


def _conversation(connection: Connection, item: ReviewItemOpened) -> str:
    """Conversation of an item's question; empty where the log does not hold that any more."""
    from millrace.reader import read
    from millrace.topics import QUERY_RECEIVED

    for event in read(connection, [QUERY_RECEIVED], on_error=lambda _record, _error: None):
        if (event.tenant, event.meta.correlation_id) == (item.tenant, item.subject):
            return str(getattr(event, "conversation", ""))
    raise NotInLog(f"the log does not hold the question {item.subject} any more, so its answer cannot be corrected")


async def _write(connection: Connection, made: ReviewDecisionMade, last: ReviewDecisionMade | None) -> None:
    from millrace.client import Millrace

    meta = decision_meta(made, last, source=_SOURCE, time_us=time.time_ns() // 1000)
    async with Millrace(connection, tenant=made.tenant) as client:
        await client.produce(made.with_meta(meta))
