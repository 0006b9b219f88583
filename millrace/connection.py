"""Where the stack is: found from arguments, then the environment, ``millrace.toml``, and ``.millrace/stack.json``.

The only place in the SDK that reads the environment, but for what `millrace ingest` is told of sources.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from millrace.config_file import NAME, ConfigFile
from millrace.errors import ConfigurationError, StackNotFound, Unavailable
from millrace.groups import EVERYONE
from millrace.registry import RegistryAccess

STACK_FORMAT: Final = 1
FETCH_MS: Final = 250
"""How long a broker that wakes a fetch may hold one of a reader that goes on for ever."""
EMBEDDED_FETCH_MS: Final = 5
"""How long the embedded broker may hold a fetch that finds nothing: a produce does not wake it."""
EMBEDDED_IDLE_MS: Final = 50
"""How long after silence, where nobody waits for what is read."""
_REMEDY: Final = "start one with `python -m infra up`, or set MILLRACE_BOOTSTRAP=host:port"
_REGISTRY: Final = ("url", "username", "password", "token", "ca_location", "timeout_s")
_SECURITY: Final = ("security_protocol", "sasl_mechanism", "sasl_username", "sasl_password", "ssl_ca_location")


class Process(msgspec.Struct, frozen=True):
    """One process of a local stack, as ``stack.json`` names it."""

    name: str
    pid: int


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a stack.

    Attributes
    ----------
    bootstrap : str
        Broker address, ``host:port`` or several with commas.
    objects : str
        Object store: an absolute folder; empty when none is known.
    home : str
        Home folder of a stack on this machine; empty for one elsewhere.
    profile : str
        ``embedded``, ``kafka``, ...; empty when unknown.
    log_epoch : str
        Names the life of the log; offsets noted under another epoch mean nothing.
    started_at : str
        When the stack started, UTC, ISO 8601.
    partitions : mapping of str to int
        Partitions found at the start of the stack, by topic.
    versions : mapping of str to str
        Releases of the stack's parts.
    processes : tuple of Process
        What the stack runs on this machine.
    security : mapping of str to str
        ``security_protocol``, ``sasl_mechanism``, ``sasl_username``, ``sasl_password``, ``ssl_ca_location``.
    registry : RegistryAccess or None
        The stack's schema registry; None where ids derive from the schemas themselves.
    tenant : str
        Whose documents and questions, when nothing is said.
    groups : tuple of str
        Groups that may read a newly ingested document, when nothing is said; ``*`` is everyone in the tenant.
    origin : str
        What named the broker: ``argument``, ``environment``, ``millrace.toml`` or a path.
    """

    bootstrap: str
    objects: str = ""
    home: str = ""
    profile: str = ""
    log_epoch: str = ""
    started_at: str = ""
    partitions: Mapping[str, int] = {}
    versions: Mapping[str, str] = {}
    processes: tuple[Process, ...] = ()
    security: Mapping[str, str] = {}
    registry: RegistryAccess | None = None
    tenant: str = "default"
    groups: tuple[str, ...] = (EVERYONE,)
    origin: str = "argument"

    def __repr__(self) -> str:
        """Without the credentials."""
        return (
            f"Connection({self.bootstrap}, profile={self.profile!r}, objects={self.objects!r}, origin={self.origin!r})"
        )

    @property
    def embedded(self) -> bool:
        """Whether the broker is the embedded one, whose log is small and whose fetches are not woken."""
        return self.profile == "embedded"

    @property
    def fetch_max_wait_ms(self) -> int:
        """How long a broker may hold a fetch that finds nothing."""
        return EMBEDDED_FETCH_MS if self.embedded else 100

    @property
    def objects_folder(self) -> Path | None:
        """The object store; None when it is unknown."""
        return Path(self.objects) if self.objects else None

    def check_reachable(self, timeout_s: float) -> None:
        """Fail at once, where librdkafka would try on in silence.

        Raises
        ------
        Unavailable
            If none of the bootstrap addresses takes a connection.
        """
        reasons = []
        for address in self.bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
            except (OSError, ValueError) as error:
                reasons.append(f"{address}: {error}")
            else:
                return
        raise Unavailable(
            f"no broker answers ({'; '.join(reasons)}), as named by {self.origin}; is the stack running? "
            "see `python -m infra status`"
        )

    def aiokafka(self) -> dict[str, Any]:
        """Client settings in aiokafka's names."""
        found: dict[str, Any] = {"bootstrap_servers": self.bootstrap}
        for name, value in self.security.items():
            found[{"sasl_username": "sasl_plain_username", "sasl_password": "sasl_plain_password"}.get(name, name)] = (
                value
            )
        if "ssl" in str(found.get("security_protocol", "")).lower():
            from aiokafka.helpers import create_ssl_context  # noqa: PLC0415 - only where a broker wants it

            found["ssl_context"] = create_ssl_context(cafile=found.pop("ssl_ca_location", None))
        found.pop("ssl_ca_location", None)
        return found

    def aiokafka_reader(self) -> dict[str, Any]:
        """Consumer settings in aiokafka's names: in no group, and from a place that the caller names."""
        return self.aiokafka() | {
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "fetch_max_wait_ms": self.fetch_max_wait_ms,
        }

    def librdkafka(self) -> dict[str, Any]:
        """Client settings in librdkafka's names."""
        return {"bootstrap.servers": self.bootstrap} | {k.replace("_", "."): v for k, v in self.security.items()}

    def librdkafka_producer(self) -> dict[str, Any]:
        """Producer settings in librdkafka's names: partitions by murmur2, idempotent, acknowledged by all replicas."""
        return self.librdkafka() | {"partitioner": "murmur2_random", "acks": "all", "enable.idempotence": True}


def find_connection(
    bootstrap: str | None = None,
    *,
    objects: str | Path | None = None,
    home: str | Path | None = None,
    start: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Connection:
    """Find a stack: arguments, environment, ``millrace.toml`` here, ``.millrace/stack.json`` here or in a folder above.

    Parameters
    ----------
    bootstrap : str, optional
        Broker address; else ``MILLRACE_BOOTSTRAP``; else the file's; else what ``stack.json`` says.
    objects : str or Path, optional
        Object folder; else ``MILLRACE_OBJECTS``; else the file's; else what ``stack.json`` says.
    home : str or Path, optional
        Home folder that holds ``stack.json``; else ``MILLRACE_HOME``; else the file's; else the first ``.millrace``
        found upwards.
    start : Path, optional
        Folder to search from; defaults to the working folder.
    environ : mapping, optional
        Defaults to the process environment.

    Raises
    ------
    StackNotFound
        If nothing names a broker.
    ConfigurationError
        If ``millrace.toml`` or ``stack.json`` is malformed, or the latter of a newer format.
    """
    environment = os.environ if environ is None else environ
    here = (start or Path.cwd()).absolute()
    file = ConfigFile.read(here)
    named, origin = _first(
        (bootstrap, "argument"), (environment.get("MILLRACE_BOOTSTRAP"), "environment"), (file.bootstrap, NAME)
    )
    store = _absolute(str(objects or environment.get("MILLRACE_OBJECTS") or ""), Path.cwd())
    path = _stack_file(home or environment.get("MILLRACE_HOME") or (here / file.home if file.home else None), here)
    stack = _read(path) if path is not None else None
    if not named and stack is None:
        where = f"{path} does not exist" if path is not None else "no .millrace/stack.json here or in a folder above"
        raise StackNotFound(f"no running stack: MILLRACE_BOOTSTRAP is not set and {where}; {_REMEDY}")
    if stack is None or (named and named != stack.bootstrap):
        profile = environment.get("MILLRACE_PROFILE") or file.profile
        stack = Connection(bootstrap=named, origin=origin, profile=profile)
    return msgspec.structs.replace(
        stack,
        objects=store or _absolute(file.objects, here) or stack.objects,
        security={**stack.security, **_security(environment, {} if stack.embedded else file.kafka)},
        registry=_registry(environment, {} if stack.embedded else file.registry, stack.registry),
        tenant=environment.get("MILLRACE_TENANT__ID") or file.tenant.id or stack.tenant,
        groups=_groups(environment, file.tenant.groups),
    )


def _first(*found: tuple[str | None, str]) -> tuple[str, str]:
    return next(((value, origin) for value, origin in found if value), ("", ""))


def _security(environment: Mapping[str, str], file: Mapping[str, Any]) -> dict[str, str]:
    named = {name: environment.get(f"MILLRACE_KAFKA__{name.upper()}") or file.get(name) for name in _SECURITY}
    return {name: str(value) for name, value in named.items() if value}


def _registry(
    environment: Mapping[str, str], file: Mapping[str, Any], stack: RegistryAccess | None
) -> RegistryAccess | None:
    named = {name: environment.get(f"MILLRACE_REGISTRY__{name.upper()}") or file.get(name) for name in _REGISTRY}
    found = {name: str(value) for name, value in named.items() if value}
    known = msgspec.structs.asdict(stack) if stack is not None else {}
    if "url" not in known | found:
        return None
    try:
        return msgspec.convert(known | found, RegistryAccess, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"setting registry.timeout_s is {found.get('timeout_s')!r}; write seconds, more than 0"
        ) from error


def _groups(environment: Mapping[str, str], file: tuple[str, ...] | None) -> tuple[str, ...]:
    text = environment.get("MILLRACE_TENANT__GROUPS")
    if not text:
        return (EVERYONE,) if file is None else file
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f'MILLRACE_TENANT__GROUPS is {text!r}; write a list as JSON: ["staff"]') from error


def _absolute(store: str, folder: Path) -> str:
    if "://" in store:
        raise ConfigurationError(f"objects {store!r} is a URL; this release keeps objects in a folder, so name one")
    return str(folder / Path(store).expanduser()) if store else ""


def _stack_file(home: str | Path | None, start: Path) -> Path | None:
    if home:
        return Path(home).expanduser().absolute() / "stack.json"
    for folder in (start.absolute(), *start.absolute().parents):
        if (path := folder / ".millrace" / "stack.json").is_file():
            return path
    return None


def _read(path: Path) -> Connection | None:
    try:
        written = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        number = written.get("format", 0)
        if not isinstance(number, int) or number > STACK_FORMAT:
            raise ConfigurationError(
                f"{path} has format {number!r}, this release reads up to {STACK_FORMAT}; upgrade the millrace package, "
                "or end that stack with the release that started it"
            )
        credentials = written.get("credentials")
        security = msgspec.json.decode(Path(credentials).read_bytes(), type=dict[str, str]) if credentials else {}
        registry = {"url": url} if (url := written.get("registry")) else None
        own = {"origin": str(path), "security": security, "registry": registry}
        return msgspec.convert(written | own, Connection)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}); end that stack with `python -m infra down`, or remove the file"
        ) from error
