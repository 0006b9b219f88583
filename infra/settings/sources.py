"""Read flags, environment and file, merge them setting by setting, and remember where each came from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import (
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
    TomlConfigSettingsSource,
)

from infra.settings.fields import PROFILE_DEFAULTS, Settings
from millrace.errors import ConfigurationError

CONFIG_FILE: Final = Path("millrace.toml")
_SECRETS: Final = "MILLRACE_SECRETS"
"""Names the folder of secrets: a file each, called as the variable would be."""


@dataclass(frozen=True)
class Loaded:
    """Settings with where each came from.

    Attributes
    ----------
    settings : Settings
        The values.
    origins : mapping of str to str
        Origin by dotted name (``worker.max_in_flight``): ``flag``, ``environment NAME``, ``secret FILE``, a file;
        what is missing has its default.
    """

    settings: Settings
    origins: Mapping[str, str]

    def flags_as_variables(self) -> dict[str, str]:
        """What was given by flags, for `process_environment`: a child process reads the other sources by itself."""
        return {
            name.replace(".", "__"): value if isinstance(value, str) else json.dumps(value)
            for name, value, origin in self.rows()
            if origin == "flag"
        }

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Each setting as (dotted name, value fit for JSON with secrets masked, origin)."""
        of_profile = {name for name, _ in _flat(PROFILE_DEFAULTS.get(self.settings.profile, {}))}
        for name, value in _flat(self.settings.model_dump(mode="json")):
            origin = f"profile {self.settings.profile}" if name in of_profile else "default"
            yield name, value, self.origins.get(name, origin)


def load(
    flags: Mapping[str, Any] | None = None,
    config: Path = CONFIG_FILE,
    *,
    profile_of: Callable[[Path], str | None] = lambda _: None,
) -> Loaded:
    """Read all sources.

    Parameters
    ----------
    flags : mapping, optional
        Settings given on the command line, nested like `Settings`; None values count as not given.
    config : Path
        The settings file; it may be missing.
    profile_of : callable
        Gives the profile of what runs in a home folder, which then counts; None when nothing does.

    Raises
    ------
    ConfigurationError
        A setting is unknown or out of bounds; the message names it, its origin and what is allowed.
    """
    try:
        in_file = TomlConfigSettingsSource(Settings, toml_file=config)()
        in_environment = EnvSettingsSource(Settings)()
        secrets = os.environ.get(_SECRETS)
        in_secrets = NestedSecretsSettingsSource(
            SecretsSettingsSource(Settings), secrets_dir=secrets, secrets_dir_missing="ok"
        )()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"settings: {config}, a MILLRACE_ variable or a file in the folder that {_SECRETS} names cannot be read: "
            f"{error}; lists are written as JSON"
        ) from error
    origins: dict[str, str] = {}
    merged: dict[str, Any] = {}
    cache_home = os.environ.get("XDG_CACHE_HOME")
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("environment XDG_CACHE_HOME", {"cache": Path(cache_home) / "millrace"} if cache_home else {}),
        (f"file {config}", in_file),
        ("secret", in_secrets),
        ("environment", in_environment),
        ("flag", flags or {}),
    ]
    for origin, layer in layers:
        for name, value in _flat(layer):
            if value is not None:
                _put(merged, name, value)
                variable = f"MILLRACE_{name.upper().replace('.', '__')}"
                named = {"environment": f"environment {variable}", "secret": f"secret {variable.lower()}"}
                origins[name] = named.get(origin, origin)
    home = Path(merged.get("home", Settings.model_fields["home"].default)).expanduser().absolute()
    if running := profile_of(home):
        merged["profile"], origins["profile"] = running, f"stack in {home}"
    try:
        return Loaded(Settings.model_validate(merged), origins)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, origins)) from error


def process_environment(**settings: str) -> dict[str, str]:
    """The environment for a child process: this one's, with this checkout importable and ``MILLRACE_*`` variables set.

    Parameters
    ----------
    **settings : str
        Variables by setting name, nested ones with ``__``: ``worker__count="2"``.
    """
    checkout = str(Path(__file__).parents[2])
    search = ":".join(part for part in (checkout, os.environ.get("PYTHONPATH", "")) if part)
    named = {f"MILLRACE_{name.upper()}": value for name, value in settings.items()}
    return {**os.environ, "PYTHONPATH": search, **named}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _put(target: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        target = target.setdefault(group, {})
    target[last] = value


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        hidden = not name or "password" in name or "token" in name or problem["type"] == "extra_forbidden"
        found = "" if hidden else f" (found {problem['input']!r})"
        what = (
            "unknown setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        )
        lines.append(f"setting {name!r} from {origins.get(name, 'default')}: {what}{found}" if name else what)
    return "; ".join(lines) + ". See all settings with `python -m infra config`"
