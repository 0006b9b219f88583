"""Keys and passwords of a stack in containers: drawn once, each in a file of its own, and the files made from them.

Containers see single files of the folder, mounted, and run as users that this machine may not know. So the folder is
private to its owner, and the files in it can be read by whom a container shows them to.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from gateway.api_keys import PREFIX, ApiKey, digest_of
from gateway.tokens import SCOPES
from infra.launch.home import write_private
from infra.rights import APP, CONNECT, GATEWAY, OPERATOR
from infra.servers.kafka.security import ADMIN
from millrace.errors import ConfigurationError

POSTGRES_USER: Final = "millrace"
_WORKERS: Final = ("corpus-worker", "query-worker", "learn-worker")
_CAPTURE: Final = ("worker", CONNECT)
DRAWN: Final = (
    *(f"kafka-{principal}" for principal in (ADMIN, *_WORKERS, *_CAPTURE, GATEWAY, APP, OPERATOR)),
    *(f"weaviate-{user}" for user in ("admin", "worker", "reader", "cluster")),
    "triton-key",
    "postgres",
    "grafana",
    "gateway-secret",
    "gateway-key",
)
"""Files with one random value each, 256 bits."""
_FIRST: Final = "first"
_LOGIN: Final = "org.apache.kafka.common.security"


def write_secrets(folder: Path) -> list[str]:
    """Draw what is missing, and write the files that are made from it.

    Parameters
    ----------
    folder : Path
        Created if missing, and made private to its owner.

    Returns
    -------
    list of str
        Names of those that were drawn.

    Raises
    ------
    ConfigurationError
        The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        drawn = [name for name in DRAWN if not (folder / name).exists()]
        for name in drawn:
            _write(folder / name, secrets.token_urlsafe(32))
        values = {name: (folder / name).read_text().strip() for name in DRAWN}
        for name, make in DERIVED.items():
            _write(folder / name, make(values))
        for name, make in KEPT.items():
            if not (folder / name).exists():
                _write(folder / name, make(values))
    except OSError as error:
        raise ConfigurationError(f"secrets cannot be kept in {folder}: {error}; name another --folder") from error
    return drawn


def _write(path: Path, content: str) -> None:
    write_private(path, content)
    path.chmod(0o444)


def _kafka_server(values: Mapping[str, str]) -> str:
    """Who may log in before the users of the log are known: the administrator, who is the node itself as well."""
    password = values[f"kafka-{ADMIN}"]
    scram = f"{_LOGIN}.scram.ScramLoginModule required;"
    plain = (
        f'{_LOGIN}.plain.PlainLoginModule required username="{ADMIN}" password="{password}" user_{ADMIN}="{password}";'
    )
    properties = {
        "listener.name.controller.plain.sasl.jaas.config": plain,
        "listener.name.clients.plain.sasl.jaas.config": plain,
        "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.outside.scram-sha-512.sasl.jaas.config": scram,
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _users(*principals: str) -> Callable[[Mapping[str, str]], str]:
    return lambda values: json.dumps({principal: values[f"kafka-{principal}"] for principal in principals})


def _weaviate(values: Mapping[str, str]) -> str:
    """In the order of the users in docker-compose.yml."""
    keys = ",".join(values[f"weaviate-{user}"] for user in ("admin", "worker", "reader"))
    return f"AUTHENTICATION_APIKEY_ALLOWED_KEYS={keys}\nCLUSTER_BASIC_AUTH_PASSWORD={values['weaviate-cluster']}\n"


def _first_key(values: Mapping[str, str]) -> str:
    """What is kept of the first key of the gateway, ``mr_first_`` and the drawn value; `infra keys` makes others."""
    kept = ApiKey(
        id=_FIRST,
        digest=digest_of(f"{PREFIX}{_FIRST}_{values['gateway-key']}"),
        name=_FIRST,
        tenant="default",
        scopes=tuple(sorted(SCOPES)),
    )
    return msgspec.json.encode([kept]).decode() + "\n"


def _command_line(values: Mapping[str, str]) -> str:
    return f'[kafka]\nsasl_password = "{values[f"kafka-{OPERATOR}"]}"\n'


DERIVED: Final[Mapping[str, Callable[[Mapping[str, str]], str]]] = MappingProxyType(
    {
        "kafka-server.properties": _kafka_server,
        "kafka-users.json": _users(*_WORKERS, GATEWAY, APP, OPERATOR),
        "kafka-capture-users.json": _users(*_CAPTURE),
        "weaviate.env": _weaviate,
        "millrace.toml": _command_line,
    }
)
"""Files that are made from the drawn ones, at each call anew."""
KEPT: Final[Mapping[str, Callable[[Mapping[str, str]], str]]] = MappingProxyType(
    {
        "database-url": lambda values: f"postgresql://{POSTGRES_USER}:{values['postgres']}@postgres:5432/postgres",
        "pip.conf": lambda _: "",
        "gateway-keys.json": _first_key,
        "maven-settings.xml": lambda _: "<settings/>\n",
    }
)
"""Files that may be the user's own, who has a database, keys, or packages from elsewhere; written where missing."""
