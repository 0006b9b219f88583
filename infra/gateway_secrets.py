"""What the gateway keeps beside its settings: the secret of its seals, and API keys; ``python -m infra keys``."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from gateway.api_keys import ApiKey, new_key, read_keys
from gateway.identity import Scope
from gateway.tokens import SCOPES
from infra.console import HomeOption, JsonOption, guarded, load_settings, out, print_json, table
from infra.launch.home import held, prepare_home, write_private
from infra.settings import Settings
from millrace.errors import ConfigurationError

keys: Final = typer.Typer(name="keys", help="API keys of services for the gateway.", no_args_is_help=True)
_SECRET: Final = "gateway-secret"  # noqa: S105 - the name of a file
_KEYS: Final = "gateway-keys.json"


def seal_secret(settings: Settings) -> bytes:
    """What all replicas seal with: the setting, or a file of the home folder, drawn once.

    Raises
    ------
    ConfigurationError
        The setting is too short to be one.
    """
    given = settings.gateway.secret.get_secret_value()
    if given:
        if len(given) < 16:
            raise ConfigurationError("gateway.secret is shorter than 16 characters; draw a random one, 32 or longer")
        return given.encode()
    path = settings.home / _SECRET
    if not path.exists():
        prepare_home(settings.home)
        with held(settings.home / "run"):
            if not path.exists():
                write_private(path, random.token_urlsafe(32))
    return path.read_bytes().strip()


def keys_path(settings: Settings) -> Path:
    """File of the API keys."""
    return settings.gateway.keys or settings.home / _KEYS


@keys.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Which service it is for")],
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose documents; the setting tenant.id by default")] = "",
    group: Annotated[list[str] | None, typer.Option("--group", help="Group beside everyone; several allowed")] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="ask, read, write or access; several; default: ask and read")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a key, and show it once: only its digest is kept."""

    def run() -> None:
        settings = load_settings(home).settings
        if strange := set(scope or ()) - SCOPES:
            raise ConfigurationError(f"scope {min(strange)!r} is none; choose of {', '.join(sorted(SCOPES))}")
        if not (name.isprintable() and 0 < len(name) <= 200):
            raise ConfigurationError("a key needs a name of at most 200 printable characters")
        scopes: Sequence[Scope] = [each for each in sorted(SCOPES) if each in (scope or ("ask", "read"))]
        at = datetime.now(UTC).isoformat(timespec="seconds")
        key, kept = new_key(name, tenant or settings.tenant.id, group or (), scopes, at)
        _change(settings, lambda found: (*found, kept))
        if as_json:
            print_json({"key": key, "id": kept.id, "name": name, "tenant": kept.tenant})
        else:
            out.print(key, highlight=False)
            out.print(f"key {kept.id} of {name!r} for tenant {kept.tenant!r}: it is not shown again", highlight=False)

    guarded(run, as_json=as_json)


@keys.command("list")
def list_keys(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the keys there are: all but the keys themselves."""

    def run() -> None:
        found = _read(keys_path(load_settings(home).settings))
        if as_json:
            hidden = [{k: v for k, v in msgspec.to_builtins(each).items() if k != "digest"} for each in found]
            print_json({"keys": hidden})
            return
        rows = [(k.id, k.name, k.tenant, " ".join(k.groups), " ".join(k.scopes), k.created_at) for k in found]
        out.print(table(("id", "name", "tenant", "groups", "scopes", "created"), rows))

    guarded(run, as_json=as_json)


@keys.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it")],
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a key back; a running gateway knows within a second."""

    def run() -> None:
        settings = load_settings(home).settings
        if all(each.id != key for each in _read(keys_path(settings))):
            raise ConfigurationError(f"there is no key {key!r}; see `python -m infra keys list`")
        _change(settings, lambda found: tuple(each for each in found if each.id != key))
        if as_json:
            print_json({"revoked": key})
        else:
            out.print(f"revoked: {key}")

    guarded(run, as_json=as_json)


def _change(settings: Settings, change: Callable[[tuple[ApiKey, ...]], tuple[ApiKey, ...]]) -> None:
    prepare_home(settings.home)
    path = keys_path(settings)
    with held(settings.home / "run"):
        mode = path.stat().st_mode if path.exists() else 0o600
        write_private(path, msgspec.json.format(msgspec.json.encode(change(_read(path))), indent=2).decode() + "\n")
        path.chmod(mode)  # those of a container's secrets are read by another user


def _read(path: Path) -> tuple[ApiKey, ...]:
    try:
        return read_keys(path)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
