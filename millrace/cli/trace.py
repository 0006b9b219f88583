"""``millrace trace``: one question or document as a tree, from the log alone."""

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
        _document(context, name, tenant, since=since, agents=agents, as_json=as_json)
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


def _document(
    context: typer.Context, name: str, tenant: str, *, since: str, agents: list[str] | None, as_json: bool
) -> None:
    from millrace.lineage import document_history

    tenant = tenant_of(context, tenant)
    topics = tuple(catalogue(agents).values())
    history = document_history(connection_of(context), tenant, name, start=start_of(since), topics=topics)
    if not history.events:
        raise NotInLog(f"the log has no document {name!r} of tenant {tenant!r} and no question of that name")

    def render() -> None:
        say(f"document {name} of tenant {tenant}")
        _tree(history.events)

    show(history.data(), render, as_json=as_json)


def _render(found: Any) -> None:
    from millrace.lineage import of_quality, of_stage

    say(f"question {found.correlation_id} (trace {found.trace_id or 'none'})")
    _tree(found.entries)
    if found.timings_ms:
        total_ms = sum(found.timings_ms.values())
        stages = ", ".join(f"{name} {spent_ms:.1f}" for name, spent_ms in found.timings_ms.items())
        say(f"{'':>9}  at work {total_ms:.1f} ms: {stages}")
    if found.quality is not None:
        say(f"{'':>9}  quality: {one_line(of_quality(found.quality), _WIDTH)}")
    if found.stage is not None:
        say(f"{'':>9}  failed: {one_line(of_stage(found.stage), _WIDTH)}")
    if found.sources:
        say("read from")
        columns = ("chunk", "document", "# version", "indexed at", "source event at")
        table(
            columns,
            [(s.chunk_id, s.document, s.version, s.indexed_at or "-", s.source_position or "-") for s in found.sources],
        )


def _tree(entries: Any) -> None:
    """Each event under the one that caused it: time since the first, time since its cause, what it says, where."""
    from millrace.causation import hops

    for hop, entry in hops(entries):
        since_cause = "" if hop.hop_ms is None else f" (+{hop.hop_ms} ms)"
        say(f"{hop.at_ms:>6} ms  {hop.branch}{entry.type}{since_cause}  {one_line(entry.what, _WIDTH)}")
        rest = "".join("  " if end else "│ " for end in hop.last)
        say(f"{'':>9}  {rest}  {entry.position}  {entry.id}")
