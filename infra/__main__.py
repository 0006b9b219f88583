"""``python -m infra``: run the stack on this machine.

Exit codes: 0 done (or running), 1 something is unavailable or degraded, 2 wrong use or settings, 3 nothing runs.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.settings import Loaded, load
from millrace.errors import ConfigurationError, MillraceError
from millrace.topics import Topic

app = typer.Typer(
    name="python -m infra",
    help="Run the stack on this machine: broker, topics, workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(soft_wrap=True)
_notes = Console(stderr=True, soft_wrap=True)

HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder with all that the stack keeps; .millrace")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="embedded, kafka or native")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there")]


@app.command()
def up(
    *,
    profile: ProfileOption = None,
    home: HomeOption = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Worker processes")] = None,
    no_workers: Annotated[bool, typer.Option("--no-workers", help="Broker and topics alone")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start what is not running yet, wait until it is ready, and leave it running in the background."""

    def run() -> None:
        from infra.launch import up as launch
        from infra.launch.seeding import seed_embedded

        loaded = _load(home, profile, 0 if no_workers else workers)
        result = launch.up(loaded, seed=seed_embedded, progress=_progress)
        stack = result.stack
        if as_json:
            _print_json({"joined": result.joined, "started": result.started, **stack.as_json()})
            return
        what = "joined the stack that runs" if result.joined else "running"
        _out.print(f"{what}: profile {stack.profile}, broker {stack.bootstrap}, home {stack.home}")
        if result.joined and result.started:
            _out.print(f"started: {', '.join(result.started)}")
        _out.print("stop it with `python -m infra down`, look at it with `python -m infra status`")

    _guarded(run, as_json=as_json)


@app.command()
def install(*, profile: ProfileOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Fetch what `up` would fetch, once per user, and start nothing."""

    def run() -> None:
        from infra.launch import profiles

        loaded = _load(home, profile)
        found = profiles.install(loaded.settings, _progress)
        if as_json:
            _print_json({"installed": found, "cache": str(loaded.settings.cache)})
        else:
            _out.print(f"installed in {loaded.settings.cache}: {', '.join(found) or 'nothing is needed'}")

    _guarded(run, as_json=as_json)


@app.command()
def down(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End workers, then the broker. Data on disk stays; what the embedded broker held is gone."""

    def run() -> None:
        from infra.launch import up as launch
        from infra.launch.running import load_running

        ended = launch.down(load_running(home).settings, _progress)
        if as_json:
            _print_json({"ended": ended})
        else:
            _out.print(f"ended: {', '.join(ended)}" if ended else "nothing was running")

    _guarded(run, as_json=as_json)


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
            _print_json(
                {"state": found.state, "broker_answers": found.broker_answers, "processes": processes, "stack": stack}
            )
        elif found.stack is None:
            _out.print("stopped; start it with `python -m infra up`")
        else:
            _out.print(f"{found.state}: profile {found.stack.profile}, broker {found.stack.bootstrap}")
            rows = [(p.name, p.pid, p.state, f"{p.memory_mb:g} MiB", p.detail) for p in found.processes]
            _out.print(_table(("process", "pid", "state", "memory", "detail"), rows))
        raise typer.Exit({"running": 0, "degraded": 1, "stopped": 3}[found.state])

    _guarded(run, as_json=as_json)


@app.command()
def capture(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Set Debezium to work on the database of the settings; the workers turn its rows into documents."""

    def run() -> None:
        from infra.capture import capture as start
        from infra.capture import connector_name
        from infra.launch.running import load_running
        from streams.sources.cdc import read_mapping

        settings = load_running(home).settings
        start(settings, _progress)
        mapping = read_mapping(Path(settings.capture.mapping or ""))
        if as_json:
            _print_json({"connector": connector_name(mapping), "tables": list(mapping.tables)})
        else:
            _out.print(f"capturing: {', '.join(mapping.tables)}, by connector {connector_name(mapping)}")

    _guarded(run, as_json=as_json)


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
        found = register_contract(settings, url, log_epoch, topics=topics, locks=lock or (), progress=_progress)
        if as_json:
            _print_json({"registry": url, "n_versions": len(found.ids), "added": found.added})
        else:
            _out.print(f"{url} holds {len(found.ids)} schema versions, {len(found.added)} of them new")

    _guarded(run, as_json=as_json)


@app.command()
def deploy(
    *,
    kafka_users: Annotated[
        Path | None,
        typer.Option("--kafka-users", help="JSON file with passwords; these users get them, and their rights"),
    ] = None,
    weaviate_roles: Annotated[
        bool, typer.Option("--weaviate-roles", help="Give Weaviate's users their roles; needs a root user's key")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make servers that run elsewhere ready for workers: topics, schemas, users; doing so again changes nothing."""

    def run() -> None:
        from infra.deploy import deploy as make_ready

        settings = _load(home, profile).settings
        found = make_ready(settings, users=kafka_users, roles=weaviate_roles, progress=_progress)
        if as_json:
            _print_json(msgspec.to_builtins(found))
        else:
            _out.print(f"ready for workers: {settings.bootstrap}")

    _guarded(run, as_json=as_json)


@app.command()
def health(
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the worker")] = "worker",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a worker of this home folder whether it is ready and moves; exits 1 when not, as a health check wants."""

    def run() -> None:
        from infra.health import unwell

        wrong = unwell(_load(home).settings.home, name)
        if as_json:
            _print_json({"name": name, "healthy": not wrong, "detail": wrong})
        else:
            _out.print(wrong or f"worker {name!r} is ready and moves")
        raise typer.Exit(1 if wrong else 0)

    _guarded(run, as_json=as_json)


@app.command()
def models(
    *,
    repository: Annotated[Path | None, typer.Argument(help="Model repository to write for a Triton server")] = None,
    environment: Annotated[
        Path | None, typer.Option("--environment", help="Virtual environment of its Python backend, on the server")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Fetch Triton and such an environment, for this machine's processors")
    ] = False,
    providers: Annotated[
        list[str] | None,
        typer.Option("--provider", help="Of ONNX Runtime, in the order of preference; several allowed"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert the embedding model, and write what a Triton server of yours needs to serve it."""

    def run() -> None:
        from infra.model_files import write_models

        found = write_models(
            _load(None).settings,
            repository,
            environment=environment,
            install=install,
            providers=providers or (),
            progress=_progress,
        )
        if as_json:
            _print_json({"models": found})
        elif found:
            _out.print(f"{repository}: {', '.join(found)}")

    _guarded(run, as_json=as_json)


@app.command()
def secrets(
    *,
    folder: Annotated[Path, typer.Option("--folder", help="Where they are kept; no one else may enter it")] = Path(
        "secrets"
    ),
    as_json: JsonOption = False,
) -> None:
    """Draw the keys and passwords that docker-compose.yml asks for; those that are there stay as they are."""

    def run() -> None:
        from infra.container_secrets import write_secrets

        drawn = write_secrets(folder)
        if as_json:
            _print_json({"folder": str(folder.absolute()), "drawn": drawn})
        else:
            _out.print(f"{folder}: {len(drawn)} drawn" if drawn else f"{folder}: all are there")

    _guarded(run, as_json=as_json)


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
        found = launch.repair(settings, stack) if repair else launch.topic_drifts(settings, stack)
        if as_json:
            _print_json({"repaired": repair, "drifts": found})
        elif not found:
            _out.print("all topics are kept as in the catalogue")
        else:
            rows = [(drift.topic, drift.setting, drift.found, drift.expected) for drift in found]
            _out.print(_table(("topic", "setting", "was" if repair else "is", "catalogue"), rows))
        raise typer.Exit(1 if found and not repair else 0)

    _guarded(run, as_json=as_json)


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
            _print_json({"rules": [rule._asdict() for rule in found], "added": n_added})
        elif apply:
            _out.print(f"{n_added} of {len(found)} rules added")
        else:
            _out.print(_table(Rule._fields, [tuple(rule) for rule in found]))

    _guarded(run, as_json=as_json)


@app.command()
def config(*, profile: ProfileOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the effective settings, each with its origin; secrets are masked."""

    def run() -> None:
        rows = list(_load(home, profile).rows())
        if as_json:
            _print_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
        else:
            _out.print(_table(("setting", "value", "origin"), rows))

    _guarded(run, as_json=as_json)


def _load(home: Path | None, profile: str | None = None, workers: int | None = None) -> Loaded:
    return load({"home": home, "profile": profile, "worker": {"count": workers}})


def _topics(modules: Sequence[str]) -> list[Topic]:
    """Topics that the agents of modules read or write."""
    if not modules:
        return []
    from infra.worker import load_agents

    specs = [part for spec in load_agents(modules) for part in (spec, *spec.stages)]
    return list({topic.name: topic for spec in specs for topic in (*spec.sources, *spec.sinks)}.values())


def _guarded(run: Callable[[], None], *, as_json: bool) -> None:
    """Run a command; say an error of ours in one line (or one JSON document) and exit with its code."""
    try:
        run()
    except MillraceError as error:
        if as_json:
            _print_json({"error": error.error_type, "message": str(error)})
        else:
            _notes.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from error


def _progress(line: str) -> None:
    _notes.print(escape(line), highlight=False)


def _print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    return table


def exit_on_sigterm() -> None:
    """Turn SIGTERM into an orderly exit, so that an interrupted `up` ends what it has begun."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def main() -> None:
    """Run the command line."""
    exit_on_sigterm()
    # The worker's imports (Faust, stores, models) take seconds; no other command should wait for them.
    if sys.argv[1:2] in ([], ["--help"], ["worker"]):
        from infra.worker import worker

        app.command()(worker)
    app()


if __name__ == "__main__":
    main()
