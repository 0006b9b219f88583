"""Links that would lead somewhere else are made inert: their targets are taken out. Pure.

Whatever renders an answer (Markdown, HTML, a terminal, a spreadsheet) finds nothing in it that it would fetch, follow
or compute on its own, except links to hosts that the policy names.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import urlsplit

import msgspec

REMOVED: Final = "[link removed]"

_TARGET: Final = re.compile(r"\]\((?P<target>[^)]*)(?:\)|\Z)")
_DEFINITION: Final = re.compile(r"^(?P<name> {0,3}\[[^\]\n]+\]:)\s*<?(?P<target>\S+)", re.MULTILINE)
_TAG: Final = re.compile(r"<(?P<name>[a-zA-Z][\w:-]*|/[a-zA-Z][\w:-]*|!|\?)(?P<rest>[^<>]*)(?P<end>>|(?=<)|\Z)")
_BARE: Final = re.compile(
    r"(?P<target>(?:\b[a-z][a-z0-9+.-]{1,30}:[/\\]+|(?<![\w:/\\])//(?=[\w\[])|\bwww\.|\b(?:mailto|javascript|vbscript|data|tel):(?=\S))"
    r"[^\s<>\"'`\])}|]*)",
    re.IGNORECASE,
)
_FORMULA: Final = re.compile(
    r"^[ \t]*(?==(?!=)\s*\S|@[A-Za-z_.]+[(|!]|[+-](?=[\w.(+-]*[\d(+-])\S*[(|!]|[+-][A-Za-z_][\w.]*[(|!])",
    re.MULTILINE,
)
_ACTIVE: Final = frozenset(
    {"a", "applet", "audio", "base", "body", "button", "embed", "form", "frame", "frameset", "html", "iframe", "img"}
    | {"input", "link", "math", "meta", "object", "picture", "script", "source", "style", "svg", "template", "track"}
    | {"video"}
)
_ENDS: Final = ".,;:!?*_"


class Edit(msgspec.Struct, frozen=True):
    """A piece of a text, what takes its place, and the rule that says so."""

    start: int
    end: int
    text: str
    rule: str
    kind: str = "link"


def edits(text: str, hosts: Collection[str]) -> list[Edit]:
    """What must change for a text to be inert, in order and without overlaps.

    Parameters
    ----------
    text : str
        As it would be shown.
    hosts : collection of str
        Hosts that links may lead to, as in `GuardPolicy.link_hosts`.
    """
    found: list[Edit] = []
    for one in sorted(_all(text, hosts), key=lambda edit: (edit.start, -edit.end)):
        if not found or one.start >= found[-1].end:
            found.append(one)
        elif one.end > found[-1].end:
            found[-1] = msgspec.structs.replace(found[-1], end=one.end)
    return found


def allowed(target: str, hosts: Collection[str]) -> bool:
    """Whether a link may lead there: http or https, to one of the hosts, and nothing odd about it."""
    if "\\" in target or any(character <= " " for character in target):
        return False
    try:
        parts = urlsplit(target)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        return False
    return any(
        host == each.lower() or (each.startswith("*.") and host.endswith(each[1:].lower())) for each in hosts if host
    )


def _all(text: str, hosts: Collection[str]) -> Iterator[Edit]:
    yield from _markdown(text, hosts)
    for found in _BARE.finditer(text):
        target = found["target"].rstrip(_ENDS)
        if not allowed(target, hosts):
            yield Edit(found.start(), found.start() + len(target), REMOVED, "url")
    for found in _TAG.finditer(text):
        name = found["name"].lstrip("/").lower()
        if not found["end"]:
            yield Edit(found.start(), found.start() + 1, "", "html")
        elif name in _ACTIVE or "=" in found["rest"] or name in {"!", "?"}:
            yield Edit(found.start(), found.end(), "", "html")
    for found in _FORMULA.finditer(text):
        yield Edit(found.end(), found.end(), "'", "formula")


def _markdown(text: str, hosts: Collection[str]) -> Iterator[Edit]:
    for found in _TARGET.finditer(text):
        target = found["target"].split(maxsplit=1) or [""]
        if not allowed(target[0].strip("<>"), hosts):
            yield Edit(found.start(), found.end(), "]", "link_target")
    for found in _DEFINITION.finditer(text):
        if _is_address(found["target"]) and not allowed(found["target"].strip("<>"), hosts):
            yield Edit(found.start("target"), found.end("target"), REMOVED, "link_target")


def _is_address(target: str) -> bool:
    return target.strip("<").startswith(("//", "\\\\", "#", "/")) or ":" in target or "." in target
