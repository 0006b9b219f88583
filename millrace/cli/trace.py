"""``millrace trace``: one question or document, from the log alone."""

import re
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Modules, Tenant, app, catalogue, connection_of, tenant_of
from millrace.cli.output import NotInLog, one_line, progress, say, show, table
from millrace.cli.times import start_of

_QUESTION = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WIDTH = 110


@app.command(epilog="Example: millrace trace 4bf92f3577b34da6a3ce929d0e0e4736")
def trace(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Trace or correlation id of a question, or a document id.")],
    tenant: Tenant = "",
    document: Annotated[bool, typer.Option("--document", help="It is a document id, whatever it looks like.")] = False,
    since: Annotated[
        str, typer.Option("--from", help="Look from here on: a time, or an age such as 2h.")
    ] = "beginning",
    agents: Modules = None,
    as_json: Json = False,
) -> None:
    """Show everything that happened to a question, and where the chunks it used came from; or a document's history."""
    if document or not _QUESTION.fullmatch(name):
        _document(context, name, tenant, as_json=as_json)
        return
    from millrace.lineage import question_trace

    with progress("read the log") as bar:
        found = question_trace(
            connection_of(context),
            name,
            start=start_of(since),
            progress=bar,
            topics=tuple(catalogue(agents).values()),
        )
    if not found.entries:
        raise NotInLog(f"the log has no question {name!r}; its topics may have forgotten it, or it is a --document")
    show(found.data(), lambda: _render(found), as_json=as_json)


def _document(context: typer.Context, name: str, tenant: str, *, as_json: bool) -> None:
    from millrace.lineage import document_history

    tenant = tenant_of(context, tenant)
    history = document_history(connection_of(context), tenant, name)
    if not history.events:
        raise NotInLog(f"the log has no document {name!r} of tenant {tenant!r} and no question of that name")

    def render() -> None:
        say(f"document {name} of tenant {tenant}")
        _tree(history.events)

    show(history.data(), render, as_json=as_json)


def _render(found: Any) -> None:
    say(f"question {found.correlation_id} (trace {found.trace_id or 'none'})")
    _tree(found.entries)
    if found.sources:
        say("read from")
        columns = ("chunk", "document", "# version", "indexed at", "source event at")
        table(
            columns,
            [(s.chunk_id, s.document, s.version, s.indexed_at or "-", s.source_position or "-") for s in found.sources],
        )


def _tree(entries: Any) -> None:
    """Events in order of time, each under the one that caused it."""
    known = {entry.id for entry in entries if entry.id}
    start_ms = min(entry.timestamp_ms for entry in entries)

    def branch(cause: str, depth: int) -> None:
        for entry in entries:
            root = entry.causation_id not in known
            if (root and not cause) or (cause and entry.causation_id == cause and entry.id != cause):
                head = f"{'  ' * depth}{'└ ' if depth else ''}{entry.type}"
                say(f"{entry.timestamp_ms - start_ms:>7} ms  {head}  {one_line(entry.what, _WIDTH)}")
                say(f"{'':>10}  {'  ' * depth}  {entry.position}  {entry.id}")
                if entry.id:
                    branch(entry.id, depth + 1)

    branch("", 0)
