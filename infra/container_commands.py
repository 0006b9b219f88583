"""Commands of ``python -m infra`` for stacks whose servers others start: in containers, above all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from infra.console import HomeOption, JsonOption, ProfileOption, guarded, load_settings, out, print_json, progress


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

        settings = load_settings(home, profile).settings
        found = make_ready(settings, users=kafka_users, roles=weaviate_roles, progress=progress)
        if as_json:
            print_json(msgspec.to_builtins(found))
        else:
            out.print(f"ready for workers: {settings.bootstrap}")

    guarded(run, as_json=as_json)


def health(
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the worker")] = "worker",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a worker of this home folder whether it is ready and moves; exits 1 when not, as a health check wants."""

    def run() -> None:
        from infra.health import unwell

        wrong = unwell(load_settings(home).settings.home, name)
        if as_json:
            print_json({"name": name, "healthy": not wrong, "detail": wrong})
        else:
            out.print(wrong or f"worker {name!r} is ready and moves")
        raise typer.Exit(1 if wrong else 0)

    guarded(run, as_json=as_json)


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
            load_settings(None).settings,
            repository,
            environment=environment,
            install=install,
            providers=providers or (),
            progress=progress,
        )
        if as_json:
            print_json({"models": found})
        elif found:
            out.print(f"{repository}: {', '.join(found)}")

    guarded(run, as_json=as_json)


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
            print_json({"folder": str(folder.absolute()), "drawn": drawn})
        else:
            out.print(f"{folder}: {len(drawn)} drawn" if drawn else f"{folder}: all are there")

    guarded(run, as_json=as_json)
