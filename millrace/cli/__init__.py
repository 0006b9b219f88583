"""The ``millrace`` command.

Exit codes: 0 all went well; 1 an error, named on standard error; 2 wrong usage; 3 some documents were not sent,
rejected or failed, or some questions could not be replayed; 4 no running stack was found; 130 interrupted. With
``--json`` standard output holds exactly one JSON document, which is ``{"error": {...}}`` when a command fails.
"""

import logging
import os
import sys
from collections.abc import Sequence

import typer

from millrace.cli import (
    acl,
    ask,
    dead_letters,
    docs,
    doctor,
    drift,
    evaluate,
    examples,
    feedback,
    ingest,
    output,
    replay,
    report,
    review,
    topics,
    trace,
)
from millrace.cli.application import app
from millrace.errors import MillraceError

__all__ = ["app", "main"]

# Each of these adds its commands to `app` when it is imported.
COMMANDS = (
    ingest,
    ask,
    feedback,
    evaluate,
    replay,
    examples,
    acl,
    docs,
    trace,
    report,
    review,
    topics,
    drift,
    dead_letters,
    doctor,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Defaults to those of the process.
    """
    # The clients' own log lines would stand between a command's words; what matters of them is in our errors.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        result = app(given, standalone_mode=False, prog_name="millrace")
        return result if isinstance(result, int) else output.ExitCode.OK
    except MillraceError as error:
        return output.fail(error, as_json=as_json)
    except typer.Abort:
        output.note("interrupted")
        return output.ExitCode.INTERRUPTED
    except typer.TyperException as error:
        return _usage(error, as_json=as_json)
    except KeyboardInterrupt:
        output.note("interrupted")
        return output.ExitCode.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes standard output at exit
        return output.ExitCode.OK


def _usage(error: typer.TyperException, *, as_json: bool) -> int:
    """Report what the command line parser found, with the usage line of the command."""
    describe = getattr(error, "format_message", None)  # a missing argument has a name, and no message of its own
    message = str(describe() if describe is not None else error)
    context = getattr(error, "ctx", None)
    if as_json:
        output.document({"error": {"type": "usage", "message": message}})
    if context is not None:
        output.note(context.get_usage())
    output.note(f"error (usage): {message}")
    return output.ExitCode.USAGE
