"""``millrace docs``: documents, their versions and what became of them."""

import asyncio
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.ingest import outcome_row
from millrace.cli.output import ExitCode, NotInLog, one_line, progress, say, show, table

docs_app = typer.Typer(help="List, show and remove documents.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(docs_app, name="docs")

Document = Annotated[str, typer.Argument(help="Document id.")]


@docs_app.command("list", epilog="Example: millrace docs list --source handbook")
def list_documents(
    context: typer.Context,
    tenant: Tenant = "",
    source: Annotated[str, typer.Option(help="Only documents of this source.")] = "",
    status: Annotated[str, typer.Option(help="Only documents whose newest change ended so, e.g. rejected.")] = "",
    gone: Annotated[bool, typer.Option("--deleted", help="Deleted documents as well.")] = False,
    as_json: Json = False,
) -> None:
    """List documents with their newest version, its outcome and who may read them."""
    from millrace.ingest.known import KnownDocuments

    tenant = tenant_of(context, tenant)
    known = KnownDocuments(connection_of(context), tenant=tenant)
    with progress("read the log") as bar:
        known.refresh(bar)
    found = [
        doc
        for doc in known.all()
        if (not source or doc.source == source) and (not status or doc.status == status) and (gone or not doc.deleted)
    ]

    def render() -> None:
        rows = [
            (
                *(d.document, d.version, d.status, d.visible[1] or "-", d.n_chunks),
                _readers(d.groups),
                d.source,
                _why(d),
                d.title,
            )
            for d in found
        ]
        columns = ("document", "# version", "status", "# visible", "# chunks", "groups", "source", "reason", "title")
        table(columns, rows)
        say(f"{len(found)} documents of tenant {tenant}")

    show({"tenant": tenant, "documents": found}, render, as_json=as_json)


@docs_app.command("show", epilog="Example: millrace docs show guide/leave.md --tenant default")
def show_document(context: typer.Context, document: Document, tenant: Tenant = "", as_json: Json = False) -> None:
    """Show a document: every version and its outcome, the chunks of the visible one, and where they came from."""
    from millrace.lineage import document_history

    tenant = tenant_of(context, tenant)
    history = document_history(connection_of(context), tenant, document)
    if not history.events:
        raise NotInLog(f"the log has no document {document!r} of tenant {tenant!r}; see `millrace docs list`")

    def render() -> None:
        known = history.known
        say(f"{document} (tenant {tenant}, source {known.source or 'unknown'}), readers: {_readers(known.groups)}")
        table(("time", "event", "# version", "what", "where"), [_row(entry) for entry in history.events])
        visible = history.visible
        if visible is None or visible.deleted:
            say("no version is visible")
            return
        say(f"visible: version {visible.version}, {one_line(visible.title)}, model {visible.model or 'unknown'}")
        say(f"from: {visible.source_position or 'unknown'} (event {visible.source_event or 'unknown'})")
        headings = visible.headings
        rows = [
            (
                number,
                chunk.id,
                f"{chunk.start}-{chunk.end}",
                headings[chunk.heading] if chunk.heading < len(headings) else "",
                visible.objects[chunk.object] if chunk.object < len(visible.objects) else "",
            )
            for number, chunk in enumerate(visible.chunks, 1)
        ]
        table(("#", "chunk", "characters", "heading", "object"), rows)

    show(history.data(), render, as_json=as_json)


@docs_app.command("rm", epilog="Example: millrace docs rm guide/old.md --wait")
def remove(
    context: typer.Context,
    documents: Annotated[list[str], typer.Argument(help="Document ids.")],
    tenant: Tenant = "",
    wait: Annotated[bool, typer.Option("--wait", help="End when the deletions are in effect.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait.")] = 60.0,
    as_json: Json = False,
) -> int:
    """Delete documents. A later ingest of a folder that still holds them brings them back."""
    from millrace import receipts

    tenant = tenant_of(context, tenant)
    sent, outcomes = asyncio.run(_remove(context, documents, tenant, timeout if wait else 0.0))
    token = receipts.encode(sent)
    data = {"deleted": documents, "receipt": token, "outcomes": [outcome_row(o) for o in outcomes] if wait else None}

    def render() -> None:
        for outcome in outcomes:
            say(f"{outcome.receipt.document}: {outcome.outcome} {one_line(outcome.message)}".rstrip())
        say(f"receipt: {token}")

    show(data, render, as_json=as_json)
    return int(ExitCode.INCOMPLETE if any(not outcome.good for outcome in outcomes) else ExitCode.OK)


async def _remove(context: typer.Context, documents: list[str], tenant: str, timeout_s: float) -> Any:
    from millrace.client import Millrace

    async with Millrace(connection_of(context), tenant=tenant) as client:
        await asyncio.to_thread(client.known.refresh)
        unknown = [name for name in documents if not client.known.get(tenant, name).exists]
        if unknown:
            raise NotInLog(f"the log has no document {unknown[0]!r} of tenant {tenant!r}; see `millrace docs list`")
        sent = []
        for name in documents:
            source = client.known.get(tenant, name).source or "app"
            sent.append(await client.delete_document(name, source=source))
        return sent, await client.wait(sent, timeout_s) if timeout_s else []


def _why(known: Any) -> str:
    """Why the newest change came to nothing, if it did."""
    if known.status not in {"rejected", "failed"}:
        return ""
    return f"{known.reason}: {known.message}" if known.message else str(known.reason)


def _readers(groups: tuple[str, ...] | None) -> str:
    return "nobody" if not groups else ", ".join(groups)


def _row(entry: Any) -> tuple[object, ...]:
    return entry.time, entry.type, entry.version, entry.what, entry.position
