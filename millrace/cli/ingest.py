"""``millrace ingest``: send what changed in sources, once or whenever it changes."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, groups_of, pairs, tenant_of
from millrace.cli.output import ExitCode, UsageError, document, note, one_line, progress, say, show, table
from millrace.ingest.walk import MAX_BYTES, Rules

_RECEIPTS = 256
_SHOWN = 20
_KINDS = 8
_QUIET_S = 1.0
_COLUMNS = ("cursor", "key", "content", "title", "deleted")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_EVERY_S = 60.0


@app.command(epilog="Example: millrace ingest handbook --groups staff --label team=hr --wait")
def ingest(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(help="Folders, files, or URLs: pages and feeds, object stores, databases. ${NAME} is expanded."),
    ],
    tenant: Tenant = "",
    groups: Annotated[
        list[str] | None,
        typer.Option(
            help="Groups that may read; repeatable. '*' is everyone. Without it new documents get their source's, "
            "and the setting tenant.groups where that is new or holds something for them already."
        ),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE to filter by; repeatable.")] = None,
    source: Annotated[
        str,
        typer.Option(help="Name of the source that owns the documents; else that of the folder, host, bucket, table."),
    ] = "",
    prefix: Annotated[str, typer.Option(help="Put before every document id, with a slash.")] = "",
    include: Annotated[list[str] | None, typer.Option(help="Only files that match; repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files that match; repeatable.")] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Largest document taken.")] = MAX_BYTES,
    wait: Annotated[bool, typer.Option("--wait", help="End with the outcome of every document.")] = False,
    sync: Annotated[bool, typer.Option("--sync", help="Delete documents that are gone from the source.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --sync: delete even more than 20 % of the source.")] = False,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Send rejected documents again as they are, such as after a setting changed."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: send each change as it happens, until interrupted.")
    ] = False,
    every: Annotated[
        float | None, typer.Option(min=0.1, help="With --watch: longest time between two looks, in seconds; else 60.")
    ] = None,
    table: Annotated[str, typer.Option(help="With a database: the table, or SCHEMA.TABLE.")] = "",
    column: Annotated[
        list[str] | None,
        typer.Option(help="MEANING=COLUMN; cursor, key, content, title or deleted; repeatable."),
    ] = None,
    allow_network: Annotated[
        list[str] | None,
        typer.Option(
            envvar="MILLRACE_INGEST_ALLOW_NETWORKS",
            help="Network that is not public and whose pages may be read, as 10.1.0.0/16; repeatable. "
            "Else MILLRACE_INGEST_ALLOW_NETWORKS, with blanks.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            envvar="MILLRACE_INGEST_STATE",
            help="Folder for notes that spare reading; else MILLRACE_INGEST_STATE, else ingest in the stack's home.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Send new and changed documents; unchanged ones are left alone.

    A document's id is its path in the folder. Reads .md and .txt files in UTF-8 (others of these types are
    reported and not sent), .html, .pdf, .docx, .pptx, .xlsx, .csv and .jsonl. Honours .millraceignore files, which work
    like .gitignore; leaves hidden files alone and follows no link out of the folder.
    """
    from millrace.ingest.opening import Plan, scheme_of

    if yes and not sync:
        raise UsageError("--yes confirms deletions of --sync; add --sync, or leave it out")
    if every is not None and not watch:
        raise UsageError("--every says how often --watch looks; add --watch, or leave it out")
    named = [expanded(path, os.environ) for path in paths]
    if missing := [path for path in named if not scheme_of(path) and not Path(path).exists()]:
        raise UsageError(f"{missing[0]} does not exist; name a folder or a file")
    columns = pairs(column, "--column")
    if unknown := columns.keys() - _COLUMNS:
        raise UsageError(f"--column {min(unknown)}=... means nothing; known are {', '.join(_COLUMNS)}")
    labels = pairs(label)
    plan = Plan(
        paths=tuple(named),
        tenant=tenant_of(context, tenant),
        source=source,
        groups=groups_of(groups),
        labels=labels,
        prefix=prefix,
        rules=Rules(tuple(include or ()), tuple(exclude or ()), max_bytes),
        sync=sync,
        confirmed=yes,
        retry=retry,
        wait=wait,
        memory=state or Path(connection_of(context).home or ".millrace") / "ingest",
        allowed=tuple(allow_network or ()),
        table=table,
        columns=columns,
        goes_on=watch,
        quiet_s=_QUIET_S if watch else 0.0,
    )
    if watch:
        with contextlib.suppress(asyncio.CancelledError):  # how a watch ends
            asyncio.run(_watch(context, plan, every or _EVERY_S, as_json=as_json))
        return int(ExitCode.OK)
    report = asyncio.run(_run(context, plan))
    show(_data(report, wait=wait), lambda: _render(report, wait=wait), as_json=as_json)
    return int(ExitCode.INCOMPLETE if report.failed else ExitCode.OK)


def expanded(path: str, environ: Mapping[str, str]) -> str:
    """A path with ``${NAME}`` replaced, so that no password stands in a command; inside a URL the value is quoted.

    Raises
    ------
    UsageError
        The environment has no such name.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise UsageError(f"{match[0]} is not set; export it, or write the path without it")
        return environ[match[1]] if match[0] == path else quote(environ[match[1]], safe="")

    return _VARIABLE.sub(value, path)


async def _run(context: typer.Context, plan: Any) -> Any:
    from millrace.client import Millrace
    from millrace.ingest.run import Ingestion

    with _progress() as changed:
        async with Millrace(connection_of(context)) as client:
            return await Ingestion(client, plan, changed).run()


class News:
    """Which rounds of a watch are told."""

    def __init__(self) -> None:
        self._rested = False
        self._told: object = None

    def has(self, report: Any) -> bool:
        """Whether it did something, or cannot send other things; at first also whether it put off others."""
        self._rested = self._rested or not report.n_put_off
        still = None if self._rested else (report.n_found, report.n_put_off)
        told = self._told
        self._told = report.skipped, {(o.receipt.document, o.version) for o in report.rejected}, still
        return bool(report.receipts) or self._told != told


async def _watch(context: typer.Context, plan: Any, every_s: float, *, as_json: bool) -> None:
    from millrace.client import Millrace
    from millrace.ingest.extras import part

    watch = part("watch", "watch").Watch
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio.run runs a task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    news = News()

    def told(report: Any) -> None:
        if not news.has(report):
            return
        if as_json:
            document(_data(report, wait=plan.wait), indent=None)
        else:
            _render(report, wait=plan.wait)

    def failed(error: Exception) -> None:
        note(f"not done, and tried again: {error}")

    with _progress() as changed:
        async with Millrace(connection_of(context)) as client:
            await watch(client, plan, told, failed, every_s=every_s, progress=changed).run()


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Any, str], None]]:
    told = False
    with progress("ingest") as bar:

        def changed(report: Any, waits_for: str) -> None:
            nonlocal told
            bar(len(report.outcomes), len(report.receipts), waits_for or f"{report.n_found} documents")
            if waits_for and not told:  # once: each outcome changes the number
                note(waits_for)
                told = True

        yield changed


def _data(report: Any, *, wait: bool) -> dict[str, Any]:
    from millrace import receipts

    few = len(report.receipts) <= _RECEIPTS
    return {
        "documents": report.n_found,
        "sent": report.n_sent,
        "unchanged": report.n_unchanged,
        "access_changed": report.n_access,
        "inherited": report.n_inherited,
        "deleted": report.n_deleted,
        "put_off": report.n_put_off,
        "bytes": report.n_bytes,
        "skipped": report.skipped,
        "passed_over": dict(report.passed_over),
        "still_rejected": [outcome_row(outcome) for outcome in report.still_rejected],
        "receipt": receipts.encode(report.receipts) if few else None,
        "counts": dict(report.counts()) if wait else None,
        "outcomes": [outcome_row(outcome) for outcome in report.outcomes] if wait else None,
    }


def outcome_row(outcome: Any) -> dict[str, Any]:
    """One outcome as it is printed in JSON."""
    return {
        "document": outcome.receipt.document,
        "version": outcome.receipt.version,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "message": outcome.message,
        "chunks": outcome.n_chunks,
        "embedded": outcome.n_embedded,
        "reused": outcome.n_reused,
    }


def _render(report: Any, *, wait: bool) -> None:
    if wait and report.outcomes:
        rows = [outcome_row(outcome) for outcome in report.outcomes]
        columns = ("document", "version", "outcome", "chunks", "embedded", "reused", "message")
        table(columns, [[row[name] for name in columns] for row in sorted(rows, key=lambda row: str(row["document"]))])
    refused = [f"not sent ({skipped.reason}): {one_line(skipped.id)}: {skipped.message}" for skipped in report.skipped]
    refused += [
        f"still rejected ({outcome.reason}): {one_line(outcome.receipt.document)}: {outcome.message}"
        for outcome in report.still_rejected
    ]
    for line in refused[:_SHOWN]:
        say(line)
    if len(refused) > _SHOWN:
        say(f"... and {len(refused) - _SHOWN} more; --json lists all")
    say(
        f"{report.n_found} documents: {report.n_sent} sent ({report.n_bytes} bytes), {report.n_unchanged} unchanged, "
        f"{report.n_access} with other groups, {report.n_deleted} deleted, {len(report.skipped)} not sent"
        + (f"; {len(report.still_rejected)} unchanged and still rejected" if report.still_rejected else "")
        + (f"; {report.n_put_off} put off until they rest" if report.n_put_off else "")
    )
    if report.passed_over:
        kinds = ", ".join(f"{n} {one_line(name)}" for name, n in report.passed_over.most_common(_KINDS))
        say(
            f"left alone, since only some formats are read: {kinds}{' ...' if len(report.passed_over) > _KINDS else ''}"
        )
    if report.n_inherited:
        say(f"{report.n_inherited} new documents are for the groups of their source's others; --groups names them anew")
    if wait:
        say("outcomes: " + (", ".join(f"{n} {name}" for name, n in sorted(report.counts().items())) or "none"))
    elif report.receipts:
        say("nothing is waited for; --wait follows every document to its outcome")
    if 0 < len(report.receipts) <= _RECEIPTS:
        say(f"receipt: {_data(report, wait=False)['receipt']}")
