"""``millrace doctor`` and ``millrace version``: what is installed, and what is wrong with it."""

from typing import Annotated

import typer

from millrace.cli.application import Json, Where, app
from millrace.cli.output import ExitCode, say, show

_MARKS = {"ok": "ok  ", "skipped": "-   ", "wrong": "WRONG"}


@app.command(epilog="Example: millrace doctor --json")
def doctor(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds each part may take to answer.")] = 5.0,
    as_json: Json = False,
) -> int:
    """Check this installation and the running stack; says what to do about whatever is wrong, and exits 1 then."""
    from millrace.diagnosis import diagnose

    where: Where = context.obj
    findings = diagnose(where.connection, timeout)
    wrong = [finding for finding in findings if finding.state == "wrong"]

    def render() -> None:
        for finding in findings:
            say(f"{_MARKS[finding.state]:<6}{finding.name}: {finding.detail}")
            if finding.remedy:
                say(f"      -> {finding.remedy}")
        say("all well" if not wrong else f"{len(wrong)} of {len(findings)} checks found something wrong")

    show({"ok": not wrong, "checks": findings}, render, as_json=as_json)
    return int(ExitCode.ERROR if wrong else ExitCode.OK)


@app.command(epilog="Example: millrace version --json")
def version(as_json: Json = False) -> None:
    """Print the release of Millrace and of what it stands on."""
    from millrace import __version__
    from millrace.diagnosis import releases

    data = {"millrace": __version__, **releases()}
    show(data, lambda: say("\n".join(f"{name} {release}" for name, release in data.items())), as_json=as_json)
