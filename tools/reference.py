"""Write the reference pages of events, topics, settings, errors, commands and metrics from the code.

``python -m tools.reference``          write ``docs/reference/``
``python -m tools.reference --check``  fail when a page is not what the code says
"""

import argparse
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agents.corpus.policy import CorpusPolicy
from agents.guard.policy import GuardPolicy
from agents.learn.policy import LearnPolicy
from agents.query.policy import QueryPolicy
from infra.__main__ import add_imported_late
from infra.__main__ import app as infra
from infra.settings import Settings
from millrace import errors
from millrace.cli import app as cli
from millrace.schema import avro_schema
from millrace.telemetry.metrics import LABELS, METRICS
from millrace.telemetry.names import ATTRIBUTES
from millrace.topics import CATALOGUE, DAY_MS, Topic
from tools.alerts import ALERTS

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
POLICIES: dict[str, type[msgspec.Struct]] = {
    "corpus": CorpusPolicy,
    "query": QueryPolicy,
    "guard": GuardPolicy,
    "learn": LearnPolicy,
}
_NOTE = "<!-- Written by `make docs` from the code; edit the code instead. -->\n\n"


def events_page() -> str:
    """Topics and the fields of their events."""
    lines = ["# Topics and events", "", "| topic | events | key group | kept |", "|---|---|---|---|"]
    for topic in CATALOGUE.values():
        names = ", ".join(f"[{event.__name__}](#{event.__name__.lower()})" for event in topic.events)
        lines.append(f"| `{topic.name}` | {names} | {topic.group} | {_kept(topic)} |")
    for topic in CATALOGUE.values():
        for event in topic.events:
            schema = avro_schema(event)
            lines += [
                "",
                f"## {event.__name__}",
                "",
                schema["doc"],
                "",
                f"Topic `{topic.name}`, type `{event.type_name()}`.",
            ]
            lines += ["", *_fields(schema)]
    return _NOTE + "\n".join(lines) + "\n"


def _kept(topic: Topic) -> str:
    days = topic.retention_ms / DAY_MS
    span = f"{days:g} days" if days >= 1 else f"{days * 24:g} hours"
    return f"compacted after {span}" if topic.cleanup == "compact" else span


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield "| field | type | default | meaning |"
    yield "|---|---|---|---|"
    nested: list[dict[str, Any]] = []
    for field in schema["fields"]:
        default = f"`{field['default']!r}`" if "default" in field else "required"
        yield f"| `{field['name']}` | {_type(field['type'], nested)} | {default} | {field.get('doc', '')} |"
    for record in nested:
        yield from ("", f"**{record['name']}**: {record['doc']}", "")
        yield from _fields(record)


def _type(kind: Any, nested: list[dict[str, Any]]) -> str:
    if isinstance(kind, list):
        return " or ".join(_type(branch, nested) for branch in kind)
    if isinstance(kind, str):
        return kind.rpartition(".")[2]
    if kind["type"] == "record":
        nested.append(kind)
        return str(kind["name"])
    if kind["type"] in ("array", "map"):
        return f"{kind['type']} of {_type(kind.get('items', kind.get('values')), nested)}"
    return str(kind.get("logicalType", kind["type"]))


def settings_page() -> str:
    """Every setting with its variable, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Flags come first, then the environment, then the files of the folder that `MILLRACE_SECRETS` names, called as",
        "the variables in lower case, then `millrace.toml`, then the defaults.",
        "`python -m infra config` prints the values in force and where each comes from.",
        "",
        "| setting | environment | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in _settings(Settings, ""):
        default = "" if str(field.default).startswith(("/", "~")) else f"`{_plain(field.default)}`"
        variable = f"MILLRACE_{name.upper().replace('.', '__')}"
        lines.append(f"| `{name}` | `{variable}` | {default} | {(field.description or '').replace('|', '/')} |")
    lines += [
        "",
        "## Policies",
        "",
        "What agents decide by. Each is a setting of its group, `query.max_quotes` for instance: in `millrace.toml` a",
        "key of the group's table, in the environment a member of the group's JSON.",
    ]
    for group, policy in POLICIES.items():
        lines += ["", f"### {group}", "", "| field | default | meaning |", "|---|---|---|"]
        lines += (f"| `{name}` | `{_plain(default)}` | {text} |" for name, default, text in _policy_fields(policy))
    return _NOTE + "\n".join(lines) + "\n"


def _policy_fields(policy: type[msgspec.Struct]) -> Iterator[tuple[str, Any, str]]:
    said, defaults = get_type_hints(policy, include_extras=True), policy()
    for name in policy.__struct_fields__:
        text = next((each for each in getattr(said[name], "__metadata__", ()) if isinstance(each, str)), "")
        yield name, getattr(defaults, name), text.replace("|", "/")


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _plain(value: Any) -> str:
    return "" if value in (None, "") else str(value)


def errors_page() -> str:
    """The tree of errors with their bounded types and what the pump does with each."""
    lines = ["# Errors", "", "| error | `error_type` | class | meaning |", "|---|---|---|---|"]
    for error in _errors(errors.MillraceError):
        summary = (error.__doc__ or "").split("\n")[0]
        lines.append(f"| {error.__name__} | `{error.error_type}` | {error.error_class} | {summary} |")
    lines += [
        "",
        "Transient errors are retried while intake pauses and are never dead-lettered; permanent ones are",
        "dead-lettered at once; unknown ones, and everything outside the tree, after the `max_attempts` of the agent.",
    ]
    return _NOTE + "\n".join(lines) + "\n"


def _errors(root: type[errors.MillraceError]) -> Iterator[type[errors.MillraceError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _errors(child)


def commands_page() -> str:
    """Every command of ``millrace`` and of ``python -m infra`` with its arguments and options."""
    lines = [
        "# Commands",
        "",
        "`millrace` works with a stack, from a checkout or an app; `python -m infra` runs one, from a checkout.",
        "Each says the same with `--help`.",
    ]
    for name, application in (("millrace", cli), ("python -m infra", _whole_infra())):
        for words, command in _commands(name, typer.main.get_command(application)):
            lines += ["", f"## {words}", "", " ".join((command.help or "").split())]
            if command.epilog:
                about, colon, example = command.epilog.partition("Example: ")
                lines += ["", f"{about}Example: `{example}`" if colon else about]
            lines += _parameters(command)
    return _NOTE + "\n".join(lines) + "\n"


@cache
def _whole_infra() -> typer.Typer:
    add_imported_late()
    return infra


def _commands(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(f"{words} {name}", below)


def _parameters(command: Any) -> Iterator[str]:
    if command.params:
        yield from ("", "| argument or option | default | meaning |", "|---|---|---|")
    for each in command.params:
        is_argument = each.param_type_name == "argument"
        name = (each.metavar or each.name.upper()) if is_argument else ", ".join((*each.opts, *each.secondary_opts))
        plain = each.default in (None, "", False) or callable(each.default)
        default = "required" if each.required else "" if plain else f"`{each.default}`"
        yield f"| `{name}` | {default} | {(each.help or '').replace('|', '/')} |"


def metrics_page() -> str:
    """Metrics with their labels, what spans carry, and the alerts."""
    lines = [
        "# Metrics and spans",
        "",
        "A worker answers `/metrics` on its health port, the gateway on its own. Labels have few values; no tenant,",
        "user or document is ever one.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    lines += ["", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {about} |" for label, about in LABELS.items()]
    lines += ["", "## Alerts", "", "| alert | when | for | severity |", "|---|---|---|---|"]
    for alert in ALERTS:
        name = f"[{alert.name}](../how-to/see-what-happens.md#{alert.name.lower()})"
        expression = alert.expression.replace("|", "\\|")
        lines.append(f"| {name} | `{expression}` | {alert.lasts} | {alert.severity} |")
    lines += ["", "## Attributes of spans", ""]
    lines += [f"- `{name}`" for name in sorted(ATTRIBUTES)]
    return _NOTE + "\n".join(lines) + "\n"


PAGES = {
    "events.md": events_page,
    "settings.md": settings_page,
    "errors.md": errors_page,
    "commands.md": commands_page,
    "metrics.md": metrics_page,
}


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write or check the pages; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args(arguments).check
    stale = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    for name in stale:
        sys.stderr.write(
            f"docs/reference/{name} {'is not what the code says; run `make docs`' if check else 'written'}\n"
        )
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
