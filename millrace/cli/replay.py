"""``millrace replay``."""

import asyncio
import os
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.output import ExitCode, NotInLog, UsageError, document, note, one_line, progress, say, table
from millrace.cli.times import start_of
from millrace.errors import ConfigurationError
from millrace.positions import Place, Since, Start, Stop, Until
from millrace.topics import QUERY_RECEIVED

_OFFSETS: Final = re.compile(r"\d+=\d+(,\d+=\d+)*")
NICENESS: Final = 10
"""Live questions on the same machine come first."""
_REASONS: Final = {
    "rows_gone": "chunks that they were to see are no longer in the index",
    "log_truncated": "the log no longer tells what was visible then",
    "statistics_gone": "the term statistics that ranked them are gone",
    "object_gone": "content that they need was removed",
    "no_context": "they were not searched for then",
    "no_answer": "the log holds no end of them",
    "cancelled": "whoever asked gave them up",
    "embedding_model": "the chunks were embedded by another model",
    "unavailable": "a model or a store was down, however often they were tried",
    "held_back": "live questions waited for longer than --hold",
}


@app.command("replay", epilog="Example: millrace replay --from 2h --set query.dense_weight=0.5 --html report.html")
def replay(
    context: typer.Context,
    begin: Annotated[
        str, typer.Option("--from", help="First question: beginning, an age (2h), a time, or PARTITION=OFFSET,...")
    ] = "beginning",
    end: Annotated[str, typer.Option("--to", help="Stop before: now, an age, a time, or PARTITION=OFFSET,...")] = "now",
    tenant: Tenant = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many questions, the newest; 0 for all.")] = 0,
    contexts: Annotated[
        Literal["recorded", "recomputed"],
        typer.Option("--context", help="Read the chunks that were read then, or search for them again."),
    ] = "recomputed",
    at_watermark: Annotated[
        bool | None,
        typer.Option("--at-watermark/--now", help="Search in the corpus of then (the default), or in today's."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="GROUP.NAME=VALUE: a policy or model changed for this replay; repeatable."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0, help="Questions a second at most; 0 for no limit.")] = 5.0,
    hold: Annotated[
        float,
        typer.Option(min=0, help="Seconds at a time to hold back while live questions wait; 0 for not at all."),
    ] = 300.0,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write what --json prints to this file.")] = None,
    as_json: Json = False,
) -> int:
    """Ask recorded questions again, and compare the answers with those that were given.

    Nothing is published and no live process is touched. The exit code is 3 if questions could not be asked as they were
    asked then: these are counted with their reason, and compared with nothing.
    """
    if contexts == "recorded" and at_watermark is not None:
        raise UsageError("--context recorded searches nothing, so --at-watermark and --now mean nothing with it")
    mode = "recorded" if contexts == "recorded" else "now" if at_watermark is False else "at_watermark"
    start, stop = _start(begin), _stop(end)
    stack = _stack()
    if html is not None:
        from millrace.evaluation.report import check_installed

        check_installed()
    connection = connection_of(context)
    wanted = stack.Range(start=start, stop=stop, tenant=tenant_of(context, tenant), limit=limit)
    options = stack.ReplayOptions(context=mode, rate=rate, yields=hold > 0, hold_s=hold, asked=f"{begin} to {end}")
    overrides = stack.Overrides.read(Path(connection.home) if connection.home else None, changes or ())
    os.nice(NICENESS)
    with progress("replay") as report:
        found = asyncio.run(stack.replay_questions(connection, overrides, wanted, options, report, note))
    if not found.pairs:
        raise NotInLog(f"no question of tenant {wanted.tenant!r} was asked from {begin} to {end}")
    return _show(found, html, save, as_json=as_json)


def _show(found: Any, html: Path | None, save: Path | None, *, as_json: bool) -> int:
    from millrace.evaluation.replayed import document as document_of

    result = document_of(found)
    if save is not None:
        import msgspec

        from millrace.reports.private import write_private

        write_private(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n", save)
    if html is not None:
        from millrace.evaluation.replay_report import write_replay

        write_replay(found, html)
    if as_json:
        document(result)
    else:
        _render(found)
    _remarks(found)
    return int(ExitCode.INCOMPLETE if found.incomplete else ExitCode.OK)


def _stack() -> Any:
    """What asks questions again; it is no part of the wheel.

    Raises
    ------
    ConfigurationError
        It is not here.
    """
    if find_spec("infra") is None or find_spec("streams") is None:
        raise ConfigurationError(
            "a replay runs the stack's own agents, which are not in the millrace package; run it in a checkout, or in "
            "the image: `docker compose run --rm worker millrace replay ...`"
        )
    return import_module("infra.replaying")


def _start(text: str) -> Start:
    return _offsets(text) if _OFFSETS.fullmatch(text) else start_of(text)


def _stop(text: str) -> Stop:
    if _OFFSETS.fullmatch(text):
        return _offsets(text)
    if text in {"now", "end"}:
        return "now"
    found = start_of(text)
    if not isinstance(found, Since):
        raise UsageError(f"--to {text!r} leaves no question; use now, an age or a time")
    return Until(found.timestamp_ms)


def _offsets(text: str) -> dict[Place, int]:
    pairs = (part.split("=") for part in text.split(","))
    return {(QUERY_RECEIVED.name, int(partition)): int(offset) for partition, offset in pairs}


def _render(found: Any) -> None:
    from millrace.evaluation.replayed import VERDICTS, measured
    from millrace.evaluation.report import in_words, verdict

    n = len(found.compared)
    say(
        f"asked again: {len(found.pairs)}, compared: {n} ("
        + ", ".join(f"{found.verdicts[name]} {name}" for name in VERDICTS)
        + ")"
    )
    for name, (before, after) in sorted(found.changed.items()):
        say(f"{name}: {before} -> {after}")
    if not n:
        return
    results = measured(found)
    rows = [
        [each.measure.name, each.measure.title, "", in_words(each), "", ""] for each in results.agreement if each.found
    ]
    for then, now, difference in zip(results.then, results.now, results.differences, strict=True):
        if difference.found is not None:
            name, title = then.measure.name, then.measure.title
            rows.append(
                [name, title, in_words(then), in_words(now), in_words(difference, signed=True), verdict(difference)]
            )
    table(["measure", "what", "# then [95 % interval]", "# now", "# difference", ""], rows)
    if found.changes:
        say("chunks that differ: " + ", ".join(f"{reason} {n}" for reason, n in found.changes.most_common()))


def _remarks(found: Any) -> None:
    for reason, n in found.incomplete.most_common():
        note(f"{n} questions are not compared ({reason}): {_REASONS.get(reason, reason)}")
        if detail := next((pair.detail for pair in found.pairs if pair.incomplete == reason), ""):
            note(f"  such as: {one_line(detail, 200)}")
    for text in found.notes:
        note(text)
    if found.held_s:
        note(f"held back for {found.held_s:.0f} s while live questions waited")
