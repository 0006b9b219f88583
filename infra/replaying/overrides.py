"""What ``--set`` changes: policies of the question path and what its models are, for one replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from agents.guard.policy import GuardPolicy
from agents.query.policy import QueryPolicy
from infra.composition import policy
from infra.launch.running import load_running
from infra.launch.stack import read_stack
from infra.settings import Settings, load
from millrace.errors import ConfigurationError

POLICIES: Final[Mapping[str, type[msgspec.Struct]]] = {"query": QueryPolicy, "guard": GuardPolicy}
GROUPS: Final = ("query", "guard", "models", "triton", "scanner")
"""Groups of settings that have a part in answering a question."""


class Overrides(msgspec.Struct, frozen=True):
    """Settings of a replay.

    Attributes
    ----------
    settings : Settings
        Those of the stack, with what was changed.
    query, guard : policy
        The policies, with what was changed.
    changed : mapping of str to pair of str
        By dotted name, the value of the stack and that of this replay, as JSON.
    """

    settings: Settings
    query: QueryPolicy
    guard: GuardPolicy
    changed: Mapping[str, tuple[str, str]]

    @classmethod
    def read(cls, home: Path | None, given: Sequence[str]) -> Overrides:
        """Read the settings of a stack, and change some.

        Parameters
        ----------
        home : Path or None
            Folder of the stack.
        given : sequence of str
            ``GROUP.NAME=VALUE``, the value in JSON or as a plain text.

        Raises
        ------
        ConfigurationError
            One is not of that form, has no part in answering, does not exist, or does not fit.
        """
        plain = load_running(home).settings
        flags: dict[str, Any] = {"home": home}
        names = []
        for text in given:
            group, name, value = _split(text)
            flags.setdefault(group, {})[name] = value
            names.append((group, name))
        changed = load(flags, profile_of=_profile_of).settings if names else plain
        return cls(
            changed,
            policy(QueryPolicy, changed.query, "query"),
            policy(GuardPolicy, changed.guard, "guard"),
            {f"{group}.{name}": (_value(plain, group, name), _value(changed, group, name)) for group, name in names},
        )


def _split(text: str) -> tuple[str, str, Any]:
    setting, equals, value = text.partition("=")
    group, dot, name = setting.strip().partition(".")
    if not equals or not dot or not name:
        raise ConfigurationError(f"--set {text!r} is not of the form GROUP.NAME=VALUE, such as query.dense_weight=0.5")
    if group not in GROUPS:
        raise ConfigurationError(
            f"--set {setting.strip()} has no part in answering a question; groups that have: {', '.join(GROUPS)}"
        )
    try:
        return group, name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return group, name, value


def _value(settings: Settings, group: str, name: str) -> str:
    """A setting as JSON, as far as it may be shown."""
    found = policy(POLICIES[group], getattr(settings, group), group) if group in POLICIES else getattr(settings, group)
    return msgspec.json.encode(getattr(found, name), enc_hook=str).decode()


def _profile_of(home: Path) -> str | None:
    stack = read_stack(home)
    return stack.profile if stack else None
