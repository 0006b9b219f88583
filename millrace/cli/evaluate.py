"""``millrace eval``."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, groups_of, pairs
from millrace.cli.ask import Exact, Groups, User
from millrace.cli.output import ExitCode, UsageError, document, note, one_line, progress, say, table
from millrace.errors import InputRejected

_MISSING_SHOWN = 3


@app.command("eval", epilog="Example: millrace eval questions.jsonl --require recall@5=0.8 --html report.html")
def evaluate(
    context: typer.Context,
    questions: Annotated[
        Path | None, typer.Argument(help="Questions whose answers are known, one JSON object a line.")
    ] = None,
    tenant: Tenant = "",
    user: User = "",
    groups: Groups = None,
    label: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: only documents with it, for all questions; repeatable.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=10, help="How many chunks to retrieve.")] = 10,
    exact: Exact = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds allowed for each question.")] = 30.0,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions asked at the same time.")] = 4,
    save: Annotated[Path | None, typer.Option(help="Write the run, as --json prints it, to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    saved: Annotated[Path | None, typer.Option(help="Look at a saved run instead of asking.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with a saved run, question by question.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE a measure must reach, or else exit code 1; repeatable.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Ask questions whose answers are known, and measure what is found, what is quoted and how long it takes.

    Numbers come with 95 % confidence intervals. The exit code is 1 if a requirement is missed or a question fails.
    """
    from millrace.evaluation.asking import AskingOptions
    from millrace.evaluation.report import check_installed, write_html
    from millrace.evaluation.run import document as document_of
    from millrace.evaluation.run import evaluate as measured
    from millrace.evaluation.run import load_run

    if (questions is None) == (saved is None):
        raise UsageError("name a file of questions to ask, or with --saved a run to look at; one of the two")
    requirements = _requirements(require or ())
    other = load_run(against) if against is not None else None
    if html is not None:
        check_installed()
    options = AskingOptions(
        tenant=tenant,
        user=user,
        groups=groups_of(groups) or (),
        labels=pairs(label),
        top_k=top_k,
        exact=exact,
        timeout_s=timeout,
        concurrency=concurrency,
    )
    run = load_run(saved) if saved is not None else asyncio.run(_ask(context, questions, options))
    results = measured(run, other, requirements)
    found = document_of(results)
    if save is not None:
        _write(save, found)
    if html is not None:
        write_html(results, html)
    if as_json:
        document(found)
    else:
        _render(results, found)
    _remarks(results)
    return int(ExitCode.ERROR if results.unmet or run.n_failed else ExitCode.OK)


def _requirements(given: Sequence[str]) -> list[Any]:
    from millrace.evaluation.measures import requirement

    try:
        return [requirement(text) for text in given]
    except InputRejected as error:
        raise UsageError(str(error)) from error


async def _ask(context: typer.Context, questions: Any, options: Any) -> Any:
    from millrace.client import Millrace
    from millrace.evaluation.asking import ask_all
    from millrace.evaluation.questions import read_questions
    from millrace.evaluation.run import make_run

    asked = read_questions(questions)
    for name, n in sorted(asked.unused.items()):
        note(f"{n} lines have a field {name!r}, which means nothing here")
    with progress("ask") as bar:
        async with Millrace(connection_of(context)) as client:
            return make_run(questions, options, await ask_all(client, asked.questions, options, bar))


def _write(path: Path, found: dict[str, Any]) -> None:
    import msgspec

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def _render(results: Any, found: dict[str, Any]) -> None:
    from millrace.evaluation.report import in_words, verdict

    differences = {each.measure.name: each for each in results.differences}
    header = ["measure", "what", "# value [95 % interval]", "# questions"]
    rows = []
    for each in results.measured:
        row = [each.measure.name, each.measure.title, in_words(each), each.found.n if each.found else 0]
        if other := differences.get(each.measure.name):
            row += [in_words(other, signed=True), verdict(other) if other.found else ""]
        if each.found is not None:
            rows.append(row)
    table([*header, "# over the other run", ""] if differences else header, rows)
    stages = {name: ms for name, ms in found["latency_ms"].items() if name != "total"}
    if stages:
        say("stages, p50: " + ", ".join(f"{one_line(name)} {ms['p50']:.1f} ms" for name, ms in stages.items()))


def _remarks(results: Any) -> None:
    """What a person should know before trusting the numbers."""
    from millrace.evaluation.report import requirement_in_words

    run = results.run
    if run.n_failed:
        errors = sorted({judgement.error for judgement in run.judgements if judgement.error})
        note(f"{run.n_failed} of {len(run.judgements)} questions failed: {one_line(errors[0], 200)}")
    if run.missing:
        names = ", ".join(run.missing[:_MISSING_SHOWN])
        note(
            f"{len(run.missing)} right documents are not in the index, such as {names}; are they ingested under these "
            "ids (`millrace docs list`), and is it their tenant?"
        )
    elif run.n_unreachable:
        note(f"no chunk of the index holds the answer of {run.n_unreachable} questions; they count as not found")
    for each in results.unmet:
        note(f"missed: {requirement_in_words(each, results)}")
