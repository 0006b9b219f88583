"""``millrace examples``: what was curated to learn from, and to evaluate with."""

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.output import ExitCode, NotInLog, UsageError, note, one_line, progress, say, show, table

if TYPE_CHECKING:
    from millrace.events.learn import ExampleCurated, ExampleRejected
    from millrace.examples.checks import Find
    from millrace.examples.curated import Curation, Loaded

examples_app = typer.Typer(
    help="List, show, export and check what was curated from feedback.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(examples_app, name="examples")

Split = Annotated[Literal["train", "eval"] | None, typer.Option(help="Only examples that are for this.")]
_FINDER: Final = "inference.personal_data:PersonalDataFinder"
_EXAMPLES_SHOWN: Final = 3


@examples_app.command("list", epilog="Example: millrace examples list --split eval")
def list_examples(
    context: typer.Context,
    tenant: Tenant = "",
    split: Split = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="What was not taken, and why, instead.")] = False,
    as_json: Json = False,
) -> None:
    """List the examples that count: taken, and not replaced or withdrawn since."""
    tenant = tenant_of(context, tenant)
    found = _curation(context, tenant)
    if rejected:
        rows = [_row(each) | {"reason": each.reason} for each in found.rejected]
        columns = ("reason", "source", "document", "label", "user", "correlation", "example")
    else:
        rows = [_row(each) | {"split": each.split, "language": each.language} for each in _of(found, split)]
        columns = ("split", "source", "document", "label", "language", "user", "example")
    counted = Counter(str(row["reason" if rejected else "split"]) for row in rows)

    def render() -> None:
        if rows:
            table(columns, [[row[name] for name in columns] for row in rows])
        kinds = ", ".join(f"{n} {name}" for name, n in sorted(counted.items()))
        say(
            f"{len(rows)} examples of tenant {tenant} {'not taken' if rejected else 'taken'}" + (kinds and f": {kinds}")
        )

    show({"tenant": tenant, "rejected" if rejected else "examples": rows}, render, as_json=as_json)


@examples_app.command("show", epilog="Example: millrace examples show 0f8c2b6e-...")
def show_example(
    context: typer.Context,
    example: Annotated[str, typer.Argument(help="Id of an example, as `millrace examples list` prints it.")],
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Show one example: its texts, as they were masked, and where it came from."""
    import msgspec

    from millrace.examples.curated import load, object_folder

    tenant = tenant_of(context, tenant)
    found = _curation(context, tenant)
    known = found.examples.get(example)
    if known is None:
        why = {each.reason for each in found.rejected if each.example == example}
        became = f"it was rejected: {', '.join(sorted(why))}" if why else "see `millrace examples list`"
        if example in found.withheld:
            became = f"its document {found.withheld[example].document!r} was withdrawn or deleted"
        raise NotInLog(f"tenant {tenant!r} has no example {example!r} that counts; {became}")
    ((_, content),) = load([known], object_folder(connection_of(context)))
    data = _row(known) | {
        "split": known.split, "language": known.language, "version": known.version, "grounded": known.grounded,
        "n_masked": known.n_masked, "replaces": known.replaces, "causes": known.causes, "ref": known.ref,
        "content": msgspec.to_builtins(content) if content is not None else None,
    }  # fmt: skip

    def render() -> None:
        for name, value in data.items():
            if name != "content":
                say(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}")
        if content is None:
            say("its texts were erased")
            return
        say(f"question: {one_line(content.question)}")
        say(f"target: {one_line(content.target)}")
        for passage in content.context:
            say(f"context: {passage.document} version {passage.version}: {one_line(passage.text)}")

    show(data, render, as_json=as_json)


@examples_app.command(
    "export", epilog="Example: millrace examples export questions.jsonl && millrace eval questions.jsonl"
)
def export_examples(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="File to write, one JSON object a line.")],
    tenant: Tenant = "",
    split: Annotated[
        Literal["train", "eval"], typer.Option(help="eval: questions for `millrace eval`; train: what to learn from.")
    ] = "eval",
    as_json: Json = False,
) -> None:
    """Write the examples of a split to a file. Those whose texts were erased are left out, and counted."""
    import msgspec

    from millrace.examples.questions import question_of, training_row
    from millrace.reports.private import write_private

    tenant = tenant_of(context, tenant)
    rows, missing, masked = [], 0, 0
    for example, content in _loaded(context, _of(_curation(context, tenant), split)):
        if content is None:
            missing += 1
            continue
        row = question_of(example, content) if split == "eval" else training_row(example, content)
        masked += row is None
        rows += [row] if row is not None else []
    write_private(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), path)
    data = {
        "tenant": tenant,
        "split": split,
        "file": str(path),
        "n": len(rows),
        "n_missing": missing,
        "n_masked": masked,
    }

    def render() -> None:
        say(f"{len(rows)} {split} examples of tenant {tenant} written to {path}")

    show(data, render, as_json=as_json)
    if missing:
        note(f"{missing} examples are left out, because their texts were erased")
    if masked:
        note(f"{masked} examples are left out, because nothing is left to judge by after masking")


@examples_app.command("check", epilog="Example: millrace examples check --split train")
def check_examples(
    context: typer.Context,
    tenant: Tenant = "",
    split: Split = None,
    similarity: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="Least overlap of shingles of near-duplicates.")
    ] = 0.8,
    max_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Most that one source, label, language or user may have.")
    ] = 0.8,
    finder: Annotated[str, typer.Option(help="MODULE:CLASS of what finds personal data, or none.")] = _FINDER,
    as_json: Json = False,
) -> int:
    """Look for what should not be trained on: duplicates, imbalance, leaks between splits and of personal data.

    The exit code is 1 if something is found.
    """
    from millrace.examples.checks import Limits, check

    tenant = tenant_of(context, tenant)
    loaded = _loaded(context, _of(_curation(context, tenant), split))
    found = check(loaded, _finder(finder), Limits(similarity=similarity, share=max_share))
    kinds = Counter(problem.check for problem in found.problems)

    def render() -> None:
        rows = [
            (name, value or "(none)", f"{share:.0%}")
            for name, of in found.shares.items()
            for value, share in of.items()
        ]
        table(("by", "value", "# share"), rows)
        for problem in found.problems:
            more = (
                f" and {len(problem.examples) - _EXAMPLES_SHOWN} more"
                if len(problem.examples) > _EXAMPLES_SHOWN
                else ""
            )
            names = ", ".join(problem.examples[:_EXAMPLES_SHOWN]) + more
            say(f"{problem.check}: {problem.message}" + (f": {names}" if names else ""))
        what = ", ".join(f"{n} {name}" for name, n in sorted(kinds.items())) or "nothing wrong"
        say(f"{found.n_examples} examples of tenant {tenant}: {what}")

    show({"tenant": tenant, "found": kinds, "result": found}, render, as_json=as_json)
    if found.n_missing:
        note(f"{found.n_missing} examples were not looked at, because their texts were erased")
    return int(ExitCode.ERROR if found.problems else ExitCode.OK)


def _curation(context: typer.Context, tenant: str) -> "Curation":
    from millrace.examples.curated import read_curation

    with progress("read the log") as bar:
        found = read_curation(connection_of(context), tenant, bar)
    if found.withheld:
        note(f"{len(found.withheld)} examples do not count, because their documents were withdrawn or deleted")
    return found


def _of(found: "Curation", split: str | None) -> "list[ExampleCurated]":
    return [each for each in found.examples.values() if split in {None, each.split}]


def _loaded(context: typer.Context, examples: "Iterable[ExampleCurated]") -> "Iterable[Loaded]":
    from millrace.examples.curated import load, object_folder

    return load(examples, object_folder(connection_of(context)))


def _row(each: "ExampleCurated | ExampleRejected") -> dict[str, Any]:
    names = ("example", "source", "document", "label", "user", "correlation")
    return {name: getattr(each, name) for name in names}


def _finder(name: str) -> "Find | None":
    """What finds personal data; the SDK has none of its own.

    Raises
    ------
    UsageError
        It cannot be had.
    """
    if name == "none":
        return None
    module, _, attribute = name.partition(":")
    try:
        found: Find = getattr(import_module(module), attribute)().find
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"what finds personal data, {name!r}, cannot be loaded ({error}); run this in a checkout, name another "
            "with --finder MODULE:CLASS, or look for none with --finder none"
        ) from error
    return found
