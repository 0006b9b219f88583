"""The command tree, and what every command shares: where the stack is, whose documents, how to answer."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import msgspec
import typer

from millrace import __version__
from millrace.cli.output import UsageError
from millrace.connection import Connection, find_connection
from millrace.topics import Topic

app = typer.Typer(
    name="millrace",
    help="Ask over your documents, feed them, and look at everything that happened, event by event.",
    epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 documents not sent, rejected or failed, 4 no stack, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else there.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose documents; else the setting tenant.id.")]
Modules = Annotated[
    list[str] | None, typer.Option("--agents", help="Module with agents and topics of your own; repeatable.")
]


class Where(msgspec.Struct):
    """What the command line says about where the stack is."""

    bootstrap: str = ""
    objects: str = ""
    home: str = ""

    def connection(self) -> Connection:
        """The stack.

        Raises
        ------
        StackNotFound
            There is none.
        """
        return find_connection(self.bootstrap or None, objects=self.objects or None, home=self.home or None)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"millrace {__version__}")
        raise typer.Exit


@app.callback()
def where(
    context: typer.Context,
    bootstrap: Annotated[str, typer.Option(help="Broker, host:port; else MILLRACE_BOOTSTRAP, else stack.json.")] = "",
    objects: Annotated[str, typer.Option(help="Object folder; else MILLRACE_OBJECTS, else stack.json.")] = "",
    home: Annotated[str, typer.Option(help="Folder with stack.json; else MILLRACE_HOME, else .millrace upwards.")] = "",
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Note where the stack is."""
    del version
    context.obj = Where(bootstrap, objects, home)


def connection_of(context: typer.Context) -> Connection:
    """The stack that the command line means.

    Raises
    ------
    StackNotFound
        There is none.
    """
    found: Where = context.obj
    return found.connection()


def tenant_of(context: typer.Context, tenant: str) -> str:
    """The tenant that the command line means: the one it names, else that of the settings."""
    return tenant or connection_of(context).tenant


def catalogue(modules: Sequence[str] | None = None) -> dict[str, Topic]:
    """Topics by name: Millrace's, and those that the agents of some modules read and write.

    Raises
    ------
    UsageError
        A module cannot be imported.
    """
    from millrace.agent import CATALOGUE as AGENTS
    from millrace.topics import CATALOGUE

    for module in modules or ():
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(f"module {module!r} cannot be imported ({error}); give its dotted name") from error
    found = dict(CATALOGUE)
    for spec in AGENTS.values():
        if not any(f"{spec.module}.".startswith(f"{module}.") for module in modules or ()):
            continue
        found |= {topic.name: topic for topic in (*spec.sources, *spec.sinks)}
    return found


def topic_named(name: str, modules: Sequence[str] | None = None) -> Topic:
    """Topic of the catalogue; an end that only one name has is enough (``acl.changed.v1``).

    Raises
    ------
    UsageError
        No topic or several have it.
    """
    known = catalogue(modules)
    found = [topic for topic in known.values() if topic.name == name] or [
        topic for topic in known.values() if name and f".{name}." in f".{topic.name}."
    ]
    if len(found) != 1:
        names = ", ".join(topic.name for topic in found) or ", ".join(known)
        raise UsageError(f"{name!r} means {'no' if not found else 'more than one'} topic; use one of: {names}")
    return found[0]


def pairs(values: Sequence[str] | None, option: str = "--label") -> dict[str, str]:
    """Labels of ``K=V`` arguments.

    Raises
    ------
    UsageError
        One has no ``=`` or no name.
    """
    found = {}
    for value in values or ():
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {value!r} is not of the form NAME=VALUE")
        found[name] = text
    return found


def groups_of(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Groups of repeated or comma-separated arguments; None when none were given."""
    if values is None:
        return None
    return tuple(sorted({part.strip() for value in values for part in value.split(",") if part.strip()}))
