"""``python -m infra``: run the stack on this machine.

Exit codes: 0 done (or running), 1 something is unavailable or degraded, 2 wrong use or settings, 3 nothing runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infra.console import (
    HomeOption,
    JsonOption,
    ProfileOption,
    guarded,
    load_settings,
    out,
    print_json,
    progress,
    table,
)
from infra.container_commands import deploy, health, models, secrets
from millrace.errors import ConfigurationError
from millrace.topics import Topic

app = typer.Typer(
    name="python -m infra",
    help="Run the stack on this machine: broker, topics, workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def up(
    *,
    profile: ProfileOption = None,
    home: HomeOption = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes")] = None,
    no_workers: Annotated[bool, typer.Option("--no-workers", help="Broker and topics alone")] = False,
    gateways: Annotated[int | None, typer.Option("--gateways", help="Replicas of the gateway")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start what is not running yet, wait until it is ready, and leave it running in the background."""

    def run() -> None:
        from infra.launch import up as launch
        from infra.launch.seeding import seed_embedded

        loaded = load_settings(home, profile, 0 if no_workers else workers, gateways)
        result = launch.up(loaded, seed=seed_embedded, progress=progress)
        stack = result.stack
        if as_json:
            print_json({"joined": result.joined, "started": result.started, **stack.as_json()})
            return
        what = "joined the stack that runs" if result.joined else "running"
        out.print(f"{what}: profile {stack.profile}, broker {stack.bootstrap}, home {stack.home}")
        if result.joined and result.started:
            out.print(f"started: {', '.join(result.started)}")
        out.print("stop it with `python -m infra down`, look at it with `python -m infra status`")

    guarded(run, as_json=as_json)


@app.command()
def install(*, profile: ProfileOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Fetch what `up` would fetch, once per user, and start nothing."""

    def run() -> None:
        from infra.launch import profiles

        loaded = load_settings(home, profile)
        found = profiles.install(loaded.settings, progress)
        if as_json:
            print_json({"installed": found, "cache": str(loaded.settings.cache)})
        else:
            out.print(f"installed in {loaded.settings.cache}: {', '.join(found) or 'nothing is needed'}")

    guarded(run, as_json=as_json)


@app.command()
def down(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End gateways, then workers, then the broker. Data on disk stays; what the embedded broker held is gone."""

    def run() -> None:
        from infra.launch import up as launch
        from infra.launch.running import load_running

        ended = launch.down(load_running(home).settings, progress)
        if as_json:
            print_json({"ended": ended})
        else:
            out.print(f"ended: {', '.join(ended)}" if ended else "nothing was running")

    guarded(run, as_json=as_json)


@app.command()
def status(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what runs and whether it is well."""

    def run() -> None:
        from infra.launch.running import load_running
        from infra.launch.status import read_status

        found = read_status(load_running(home).settings)
        if as_json:
            stack = found.stack.as_json() if found.stack else None
            processes = [asdict(process) for process in found.processes]
            print_json(
                {"state": found.state, "broker_answers": found.broker_answers, "processes": processes, "stack": stack}
            )
        elif found.stack is None:
            out.print("stopped; start it with `python -m infra up`")
        else:
            out.print(f"{found.state}: profile {found.stack.profile}, broker {found.stack.bootstrap}")
            rows = [(p.name, p.pid, p.state, f"{p.memory_mb:g} MiB", p.detail) for p in found.processes]
            out.print(table(("process", "pid", "state", "memory", "detail"), rows))
        raise typer.Exit({"running": 0, "degraded": 1, "stopped": 3}[found.state])

    guarded(run, as_json=as_json)


@app.command()
def capture(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Set Debezium to work on the database of the settings; the workers turn its rows into documents."""

    def run() -> None:
        from infra.capture import capture as start
        from infra.capture import connector_name
        from infra.launch.running import load_running

        mapping = start(load_running(home).settings, progress)
        if as_json:
            print_json({"connector": connector_name(mapping), "tables": list(mapping.tables)})
        else:
            out.print(f"capturing: {', '.join(mapping.tables)}, by connector {connector_name(mapping)}")

    guarded(run, as_json=as_json)


@app.command()
def register(
    *,
    agents: Annotated[
        list[str] | None, typer.Option("--agents", help="Module with agents whose topics are registered as well")
    ] = None,
    lock: Annotated[
        list[Path] | None, typer.Option("--lock", help="Folder of their schema lock; several allowed")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register the contract with the schema registry, as `up` does by itself; doing so again changes nothing."""

    def run() -> None:
        from infra.launch.registry import register_contract
        from infra.launch.running import load_running
        from infra.launch.stack import read_stack

        settings = load_running(home).settings
        stack = read_stack(settings.home)
        url = settings.registry.url or (stack.registry if stack else "")
        if not url:
            raise ConfigurationError(
                "no schema registry: set registry.url to one of yours, or start one with registry.run and "
                "`python -m infra up --profile kafka`, or use --profile native"
            )
        log_epoch = stack.log_epoch if stack else ""
        topics = _topics(agents or ())
        found = register_contract(settings, url, log_epoch, topics=topics, locks=lock or (), progress=progress)
        if as_json:
            print_json({"registry": url, "n_versions": len(found.ids), "added": found.added})
        else:
            out.print(f"{url} holds {len(found.ids)} schema versions, {len(found.added)} of them new")

    guarded(run, as_json=as_json)


@app.command()
def topics(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Set what is different to what the catalogue says")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare how topics are kept (retention, compaction, sizes) with the catalogue; exits 1 where they differ."""

    def run() -> None:
        from infra.launch import topics as launch
        from infra.launch.running import load_running, running_stack

        settings = load_running(home).settings
        stack = running_stack(settings.home)
        found = launch.repair(settings, stack) if repair else launch.topic_drifts(settings, stack, tables=True)
        if as_json:
            print_json({"repaired": repair, "drifts": found})
        elif not found:
            out.print("all topics are kept as in the catalogue")
        else:
            rows = [(drift.topic, drift.setting, drift.found, drift.expected) for drift in found]
            out.print(table(("topic", "setting", "was" if repair else "is", "catalogue"), rows))
        raise typer.Exit(1 if found and not repair else 0)

    guarded(run, as_json=as_json)


@app.command()
def rules(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Add those that are missing at the broker of the settings; takes none away")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what each principal has to be allowed at a Kafka of yours that denies everything else."""

    def run() -> None:
        from infra.launch.rights import all_rights, apply_rules
        from infra.launch.running import load_running
        from infra.rights import Rule, rules_of

        settings = load_running(home).settings
        n_added = apply_rules(settings) if apply else 0
        found = rules_of(all_rights(settings))
        if as_json:
            print_json({"rules": [rule._asdict() for rule in found], "added": n_added})
        elif apply:
            out.print(f"{n_added} of {len(found)} rules added")
        else:
            out.print(table(Rule._fields, [tuple(rule) for rule in found]))

    guarded(run, as_json=as_json)


@app.command()
def config(*, profile: ProfileOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the effective settings, each with its origin; secrets are masked."""

    def run() -> None:
        rows = list(load_settings(home, profile).rows())
        if as_json:
            print_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
        else:
            out.print(table(("setting", "value", "origin"), rows))

    guarded(run, as_json=as_json)


for command in (deploy, health, models, secrets):
    app.command()(command)


def _topics(modules: Sequence[str]) -> list[Topic]:
    """Topics that the agents of modules read or write."""
    if not modules:
        return []
    from infra.worker import load_agents

    specs = [part for spec in load_agents(modules) for part in (spec, *spec.stages)]
    return list({topic.name: topic for spec in specs for topic in (*spec.sources, *spec.sinks)}.values())


def exit_on_sigterm() -> None:
    """Turn SIGTERM into an orderly exit, so that an interrupted `up` ends what it has begun."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def add_imported_late(named: Sequence[str] = ()) -> None:
    """Add commands whose imports (Faust, stores, models) take seconds: those that are named, or all."""
    if not named or "worker" in named:
        from infra.worker import worker

        app.command()(worker)
    if not named or "gateway" in named:
        from infra.gateway import gateway

        app.command()(gateway)
    if not named or "keys" in named:
        from infra.gateway_secrets import keys

        app.add_typer(keys)


def main() -> None:
    """Run the command line."""
    exit_on_sigterm()
    add_imported_late(() if sys.argv[1:2] in ([], ["--help"]) else sys.argv[1:2])
    app()


if __name__ == "__main__":
    main()
