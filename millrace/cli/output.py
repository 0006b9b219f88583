"""How commands speak: text for people, one JSON document for programs, and nothing that a terminal would obey."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from typing import Any, Protocol

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.errors import ConfigurationError, InputRejected, MillraceError, RequestFailed, StackNotFound


class ExitCode(IntEnum):
    """What a command's exit code says."""

    OK = 0
    ERROR = 1
    USAGE = 2
    INCOMPLETE = 3
    """Some documents were not sent, rejected or failed, or some questions could not be replayed."""
    NO_STACK = 4
    """No running stack was found."""
    INTERRUPTED = 130


# Terminal commands (CSI, OSC and the like), then every other control character, then those that reorder text.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """Text without anything a terminal would act on; line breaks and tabs stay."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", str(text)))


def one_line(text: object, width: int = 0) -> str:
    """Text on one line, cut to `width` characters unless that is 0."""
    found = " ".join(plain(text).split())
    return found if not width or len(found) <= width else found[: width - 1] + "…"


def say(text: object = "") -> None:
    """Print a line to standard output, stripped of terminal commands."""
    _console().print(Text(plain(text)), soft_wrap=True)


def note(text: object) -> None:
    """Print a line to standard error, stripped of terminal commands."""
    Console(file=sys.stderr, highlight=False).print(Text(plain(text)), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, every cell stripped of terminal commands."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(column, overflow="fold", justify="right" if column.startswith("#") else "left")
    for row in rows:
        found.add_row(*(Text(one_line(cell)) for cell in row))
    _console().print(found)


def show(data: Any, render: Callable[[], None], *, as_json: bool) -> None:
    """Print a result: `data` as the one JSON document, or what `render` prints."""
    if as_json:
        document(data)
    else:
        render()


def document(data: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document. It is ASCII, so no control character of any document reaches a terminal."""
    builtins = msgspec.to_builtins(data, str_keys=True)
    sys.stdout.write(json.dumps(builtins, ensure_ascii=True, indent=indent) + "\n")
    sys.stdout.flush()


def fail(error: BaseException, *, as_json: bool) -> int:
    """Report an error, to people on standard error and to programs also as the JSON document; gives the exit code."""
    kind = getattr(error, "reason", "") or getattr(error, "error_type", type(error).__name__)
    if as_json:
        found: dict[str, Any] = {"type": kind, "message": str(error)}
        if isinstance(error, RequestFailed) and error.retry_after_ms:
            found["retry_after_ms"] = error.retry_after_ms
        document({"error": found})
    note(f"error ({kind}): {error}")
    return int(exit_code(error))


def exit_code(error: BaseException) -> ExitCode:
    """Exit code of an error."""
    if isinstance(error, StackNotFound):
        return ExitCode.NO_STACK
    return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.ERROR


class UsageError(InputRejected):
    """Arguments that contradict each other or mean nothing."""

    error_type = "usage"


class NotInLog(InputRejected):
    """The log has nothing by this name."""

    error_type = "not_found"


class Reporter(Protocol):
    """Takes how far long work has come."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """`total` is 0 while it is unknown."""


def progress(title: str) -> AbstractContextManager[Reporter]:
    """A progress bar on standard error, where that is a terminal; otherwise nothing."""
    if not sys.stderr.isatty():
        return nullcontext(_silent)
    from millrace.cli.progress import bar

    return bar(title)


def _silent(done: int, total: int, text: str = "") -> None:
    pass


def _console() -> Console:
    return Console(
        file=sys.stdout, highlight=False, emoji=False, markup=False, width=None if sys.stdout.isatty() else 200
    )


__all__ = [
    "ConfigurationError",
    "ExitCode",
    "MillraceError",
    "NotInLog",
    "UsageError",
    "document",
    "exit_code",
    "fail",
    "note",
    "one_line",
    "plain",
    "progress",
    "say",
    "show",
    "table",
]
