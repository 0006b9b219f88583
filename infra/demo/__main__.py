"""``python -m infra.demo``: start a stack, run the steps, stop it, and say whether each showed what it should."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from infra.demo import guards, loop, outside
from infra.demo.log import count_embedded
from infra.demo.report import Report
from infra.demo.steps import Demo
from infra.launch.gateways import gateway_url
from infra.launch.seeding import seed_embedded
from infra.launch.stack import read_stack
from infra.launch.up import down, up
from infra.settings import Loaded, load
from millrace.client import Millrace
from millrace.connection import find_connection
from millrace.errors import MillraceError

HOME: Final = Path(".millrace") / "demo"


def demo(
    *,
    profile: Annotated[str, typer.Option(help="embedded, kafka or native")] = "embedded",
    home: Annotated[Path, typer.Option(help="Folder of the demo's own stack; emptied first")] = HOME,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running at the end")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output")] = False,
) -> None:
    """Run the main job once on a stack of its own; exit code 0 only if every step showed what it should."""
    report = Report(as_json)
    pages = ""
    loaded = load({"home": home, "profile": profile, "gateway": {"count": 1, "people": outside.PEOPLE}})
    try:
        _clear(loaded)
        try:
            _run(loaded, report)
            pages = _address(loaded)
        finally:
            if not keep:
                down(loaded.settings)
    except MillraceError as error:
        report.check("the demo runs to its end", passed=False, detail=str(error))
    end = f"python -m infra down --home {home}" if keep else "ended, nothing is left running"
    open_at = {"pages": f"{pages}/"} if pages and keep else {}
    raise typer.Exit(report.finish(profile=profile, home=str(loaded.settings.home), stack=end, **open_at))


def _clear(loaded: Loaded) -> None:
    """Begin with an empty home: the demo's own stack of an earlier run is ended and removed."""
    home = loaded.settings.home
    if home.exists():
        down(loaded.settings)
        shutil.rmtree(home)


def _run(loaded: Loaded, report: Report) -> None:
    demo = Demo(report, loaded.settings.home / "handbook")
    _start(loaded, report, f"start a stack on profile {loaded.settings.profile}")
    embedded = asyncio.run(_first_run(loaded, demo))
    report.begin("down and up")
    down(loaded.settings)
    report.say("down: no process is left")
    _start(loaded, report, "")
    asyncio.run(_second_run(loaded, demo, embedded))


def _start(loaded: Loaded, report: Report, step: str) -> None:
    if step:
        report.begin(step)
    stack = up(loaded, seed=seed_embedded, progress=report.say).stack
    report.say(f"broker {stack.bootstrap}, {len(stack.workers)} worker")


def _address(loaded: Loaded) -> str:
    stack = read_stack(loaded.settings.home)
    if stack is None or not stack.gateways:
        return ""
    return gateway_url(loaded.settings, stack.ports[stack.gateways[0].name]["http"])


async def _first_run(loaded: Loaded, demo: Demo) -> int:
    async with _client(loaded) as millrace:
        for step in (demo.ingest, demo.ask, demo.measure, demo.edit, demo.revoke, demo.delete, demo.watch, demo.poison):
            await step(millrace)
        for shown in (guards.mask, guards.hold, guards.leave_out):
            await shown(demo, millrace)
        for asked in (outside.ask_over_http, outside.chat, outside.look):
            await asked(demo, _address(loaded))
        for closed in (loop.judge, loop.shift, loop.ask_again, loop.report_on_questions):
            await closed(demo, millrace)
        return 0 if loaded.settings.profile == "embedded" else await count_embedded(millrace)


async def _second_run(loaded: Loaded, demo: Demo, embedded: int) -> None:
    async with _client(loaded) as millrace:
        await demo.again(millrace, embedded)


def _client(loaded: Loaded) -> Millrace:
    return Millrace(find_connection(home=loaded.settings.home, environ={}))


def main() -> None:
    """Entry point."""
    typer.run(demo)


if __name__ == "__main__":
    main()
