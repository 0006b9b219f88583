"""The Compose files as tests see them: parsed, with variables filled in as for who sets none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
COMPOSE: Final = ROOT / "docker-compose.yml"
GPU: Final = ROOT / "docker-compose.gpu.yml"
_VARIABLE: Final = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<word>[^}]*))?\})")


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """What Compose makes of a text: ``${NAME:-default}``, ``${NAME:?message}`` and ``$$``."""

    def value(found: re.Match[str]) -> str:
        if found["name"] is None:
            return "$"
        if found["name"] in variables or found["kind"] == "?":
            return variables[found["name"]]
        return found["word"] or ""

    return _VARIABLE.sub(value, text)


def read_compose(path: Path = COMPOSE, **variables: str) -> dict[str, Any]:
    """A Compose file, its anchors merged and its variables filled in."""
    found: dict[str, Any] = _filled(yaml.safe_load(path.read_text()), variables)
    return found


def services(path: Path = COMPOSE) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = read_compose(path, TRITON_IMAGE="tritonserver:25.01-py3")["services"]
    return found


def mounted(service: Mapping[str, Any]) -> dict[str, str]:
    """Where a service finds which secret: name by path."""
    found = {}
    for each in service.get("secrets", ()):
        source, target = (each, each) if isinstance(each, str) else (each["source"], each.get("target", each["source"]))
        found[target if target.startswith("/") else f"/run/secrets/{target}"] = source
    return found


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return interpolated(value, variables)
    if isinstance(value, dict):
        return {name: _filled(each, variables) for name, each in value.items()}
    return [_filled(each, variables) for each in value] if isinstance(value, list) else value
