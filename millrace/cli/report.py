"""``millrace report``: what people ask, and what the corpus does not answer."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.output import UsageError, document, note, progress, say, table
from millrace.cli.times import start_of
from millrace.positions import Since

_ROWS = 15


@app.command(epilog="Example: millrace report --weeks 4 --html report.html")
def report(
    context: typer.Context,
    tenant: Tenant = "",
    everybody: Annotated[bool, typer.Option("--all-tenants", help="Every tenant's questions, each apart.")] = False,
    since: Annotated[str, typer.Option("--from", help="Questions from here on: a time, or an age such as 14d.")] = "",
    until: Annotated[str, typer.Option("--to", help="Questions asked before this time or age; else now.")] = "",
    weeks: Annotated[int, typer.Option(min=1, max=53, help="Weeks to look at, this one included.")] = 4,
    least_people: Annotated[
        int, typer.Option(min=1, help="Topics that fewer people asked about have no name and no example.")
    ] = 5,
    least_counted: Annotated[
        int,
        typer.Option(
            min=1, help="Words that fewer people used name nothing; weeks in which fewer asked have no numbers."
        ),
    ] = 3,
    examples: Annotated[
        bool | None,
        typer.Option("--examples/--no-examples", help="Show example questions; else where they can be masked."),
    ] = None,
    before: Annotated[
        Path | None, typer.Option(help="Report saved before: topics that go on keep their names.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the report, as --json prints it, to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Say what people ask: topics and intents, what is not answered, and what it costs, by tenant and week.

    Everything is read from the log, nothing is embedded or asked. The data of persons is masked.
    """
    from millrace.analytics.report import check_installed

    check_installed(html=html is not None)
    from millrace.analytics import summary
    from millrace.analytics.making import make_report
    from millrace.analytics.masking import stack_finder
    from millrace.analytics.report import write_html

    asked = _range(since, until, weeks)
    earlier = summary.load_report(before) if before is not None else None
    find = stack_finder()
    options = summary.AnalysisOptions(
        least_people=least_people,
        least_counted=least_counted,
        examples=find is not None if examples is None else examples,
    )
    with progress("questions") as bar:
        found = make_report(
            connection_of(context),
            asked,
            options,
            tenants=() if everybody else (tenant_of(context, tenant),),
            find=find,
            before=earlier,
            progress=bar,
        )
    if save is not None:
        summary.save_report(found, save)
    if html is not None:
        write_html(found, html)
    if as_json:
        document(summary.document(found))
    else:
        _render(found)
    _remarks(found, asked_for_examples=examples)


def _range(since: str, until: str, weeks: int) -> tuple[int, int]:
    from millrace.analytics.questions import WEEK_US, week_of
    from millrace.times import iso

    now_us = time.time_ns() // 1000
    to_us = min(_at(until, "--to"), now_us) if until else now_us
    from_us = _at(since, "--from") if since else week_of(to_us) - (weeks - 1) * WEEK_US
    if from_us >= to_us:
        begins, ends = (iso(at_us // 1000, "seconds") for at_us in (from_us, to_us))
        raise UsageError(f"the range is empty: it begins {begins} and ends {ends}")
    return from_us, to_us


def _at(text: str, option: str) -> int:
    found = start_of(text)
    if not isinstance(found, Since):
        raise UsageError(f"{option} {text!r} is no time; use an age (14d, 12h) or a time (2026-01-31T12:00)")
    return found.timestamp_ms * 1000


def _render(found: Any) -> None:
    from millrace.analytics.report import amount, count, share

    for tenant in found.tenants:
        say(f"tenant {tenant.tenant}: {tenant.n} questions, {found.weeks[0]} to {found.weeks[-1]}")
        rows = [
            (t.name, t.n, t.n_people, t.n_unanswered, t.n_poor, t.examples[0] if t.examples else "-")
            for t in tenant.topics[:_ROWS]
        ]
        rest = tenant.other
        rows.append(("other questions", rest.n, rest.n_people, rest.n_unanswered, rest.n_poor, "-"))
        table(("topic", "# questions", "# people", "# not answered", "# poor", "example"), rows)
        if tenant.unanswered:
            say("what the corpus does not answer")
            missing = [
                (each.name, each.n, share(each.share), ", ".join(each.words) or "-", (each.examples or ("-",))[0])
                for each in tenant.unanswered[:_ROWS]
            ]
            table(("topic", "# questions", "# of the topic", "words", "example"), missing)
        say("intents: " + ", ".join(f"{intent} {n}" for intent, n in tenant.by_intent.items()))
        usage = [
            (
                *(week.week, count(week.n), count(week.n_people), share(week.answered), count(week.n_tokens)),
                *(amount(week.cost_usd, "usd"), amount(week.p50_ms, "ms"), amount(week.p95_ms, "ms")),
                *(count(week.n_feedback), share(week.liked)),
            )
            for week in tenant.usage
        ]
        heads = ("week", "# questions", "# people", "# answered", "# tokens", "# cost", "# p50", "# p95", "# feedback")
        table((*heads, "# good"), usage)


def _remarks(found: Any, *, asked_for_examples: bool | None) -> None:
    """What a person should know before trusting or showing it."""
    if not found.tenants:
        note("nothing was asked in this range")
    if not found.searched_for_persons:
        shown = "examples show what the guards did not find" if asked_for_examples else "examples are left out"
        note(f"no finder of personal data is installed here, it comes with the stack: {shown}")
    for tenant in found.tenants:
        if tenant.n and not tenant.topics:
            note(
                f"tenant {tenant.tenant}: no topic that {found.options.least_people} people asked about; "
                "--least-people 1 shows those of fewer, to whom that may be shown"
            )
        if few := [week.week for week in tenant.usage if not week.told]:
            note(
                f"tenant {tenant.tenant}: no numbers of {', '.join(few)}, in which fewer than {found.options.crowd} "
                "people asked, or from which theirs could be found; --least-counted 1 shows them, where that is allowed"
            )
    if found.n_unreadable:
        note(f"{found.n_unreadable} records could not be read")
