"""What the commands of ``python -m infra`` share: their options, how they print, how an error ends them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.redaction import Redaction, secrets_of
from infra.settings import Loaded, load
from millrace.errors import ConfigurationError, MillraceError

out = Console(soft_wrap=True)
notes = Console(stderr=True, soft_wrap=True)
_redact = Redaction()  # no secret in what goes wrong

HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder with all that the stack keeps; .millrace")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="embedded, kafka or native")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there")]


def load_settings(
    home: Path | None, profile: str | None = None, workers: int | None = None, gateways: int | None = None
) -> Loaded:
    """All settings, with those that were given as options; errors as of `load`."""
    loaded = load({"home": home, "profile": profile, "worker": {"count": workers}, "gateway": {"count": gateways}})
    _redact.add(*secrets_of(loaded.settings))
    return loaded


def guarded(run: Callable[[], None], *, as_json: bool) -> None:
    """Run a command; say an error of ours in one line (or one JSON document) and exit with its code."""
    try:
        run()
    except MillraceError as error:
        if as_json:
            print_json({"error": error.error_type, "message": _redact(str(error))})
        else:
            notes.print(f"[red]error:[/red] {escape(_redact(str(error)))}", highlight=False)
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from error


def progress(line: str) -> None:
    """Say a step on standard error."""
    notes.print(escape(line), highlight=False)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document, and nothing else, on standard output."""
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    """A table without lines; cells are plain text."""
    found = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        found.add_row(*(escape(str(cell)) for cell in row))
    return found
