"""What can be set, where it comes from, and the only place that reads the environment.

Order: flags, then environment (``MILLRACE_HOME``, ``MILLRACE_WORKER__MAX_IN_FLIGHT``), then ``millrace.toml`` in the
working folder, then the defaults here. `load` returns the values together with the origin of each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from millrace.errors import ConfigurationError

CONFIG_FILE = Path("millrace.toml")
_LATER_PROFILES = ("native", "compose", "kubernetes")


class _Group(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(_Group):
    """The Kafka node that the launcher runs, and how clients reach a broker."""

    java: str = "java"
    """Java 17 or newer: a name on the search path, or a path."""
    maven: str = "mvn"
    """Maven, needed once to fetch Kafka: a name on the search path, or a path."""
    heap_mb: int = Field(default=512, ge=256)
    """Java heap of the node, in MiB."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the node on loopback; 0 chooses a free one at each start."""
    start_timeout_s: float = Field(default=60.0, gt=0)
    """How long the node may take to become ready, in seconds."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How clients speak to a broker of yours (setting `bootstrap`)."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How clients log in, with a SASL protocol."""
    sasl_username: str = ""
    """User name, with a SASL protocol."""
    sasl_password: SecretStr = SecretStr("")
    """Password, with a SASL protocol; best given by the environment."""
    ssl_ca_location: Path | None = None
    """Certificates that sign the broker's, with an SSL protocol; the system's by default."""


class PartitionSettings(_Group):
    """Partitions of the topics of each key group; fixed once the topics exist."""

    corpus: int = Field(default=4, ge=1, le=256)
    """Topics keyed by document."""
    query: int = Field(default=4, ge=1, le=256)
    """Topics keyed by conversation."""
    tenant: int = Field(default=4, ge=1, le=256)
    """Topics keyed by tenant."""
    reply: int = Field(default=4, ge=1, le=256)
    """The reply topic; each asker reads one partition."""


class ModelSettings(_Group):
    """Models that run inside the workers."""

    embedder: Literal["minilm", "hashing"] = "minilm"
    """`minilm`: all-MiniLM-L6-v2 in int8; `hashing`: words hashed to vectors, fast and without meaning, for tests."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads of one model call."""


class StoreSettings(_Group):
    """Where a worker keeps what it folds and searches."""

    vectors: Path | None = None
    """Vector tables. Default: `vectors` in the home folder."""
    state: Path | None = None
    """Visibility tables of the workers. Default: `state` in the home folder."""


class WorkerSettings(_Group):
    """How workers consume, retry and commit."""

    count: int = Field(default=1, ge=0, le=64)
    """Worker processes that `up` starts."""
    agents: tuple[str, ...] = ()
    """Modules with further agents to run; empty runs Millrace's own."""
    max_in_flight: int = Field(default=16, ge=1, le=1024)
    """Events of one agent that are handled at the same time, each of another key."""
    max_uncommitted: int = Field(default=1000, ge=1, le=100_000)
    """Records of a partition beyond its committed offset; bounds what a crash repeats."""
    max_buffered_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of records that a worker holds before it pauses its partitions."""
    commit_interval_ms: int = Field(default=500, ge=10)
    """Time between commits of the completed prefix."""
    session_timeout_ms: int = Field(default=10_000, ge=1000)
    """After this long without a heartbeat a worker's partitions go to others."""
    heartbeat_interval_ms: int = Field(default=3000, ge=100)
    """Time between heartbeats."""
    rebalance_timeout_ms: int = Field(default=60_000, ge=1000)
    """How long the members of a group may take to agree on partitions."""
    drain_timeout_ms: int = Field(default=8000, ge=100)
    """How long a worker waits for work in flight when it ends or loses a partition."""
    fetch_max_wait_ms: int = Field(default=100, ge=1)
    """How long a broker may hold a fetch that finds nothing; on the embedded broker at most 5."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts at an event that fails for an unknown reason, before it is dead-lettered."""
    retry_initial_ms: int = Field(default=100, ge=1)
    """Wait before the first repetition; doubles each time, with jitter."""
    retry_max_ms: int = Field(default=10_000, ge=1)
    """Longest wait between repetitions."""
    ready_timeout_s: float = Field(default=60.0, gt=0)
    """How long a worker may take to become ready, in seconds."""


class TenantSettings(_Group):
    """Whose documents and questions they are, when nothing is said."""

    id: str = Field(default="default", min_length=1)
    """Tenant."""
    groups: tuple[str, ...] = ("*",)
    """Groups that may read an ingested document; `*` is everyone in the tenant."""


class Settings(BaseSettings):
    """All settings; frozen."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    home: Path = Path(".millrace")
    """Folder with everything a stack keeps on this machine."""
    profile: Literal["embedded", "kafka"] = "embedded"
    """`embedded`: the broker in memory, from Python packages alone; `kafka`: a Kafka node of its own, durable."""
    bootstrap: str = ""
    """With profile `kafka`, a broker of yours (`host:port,host:port`); empty starts one."""
    objects: str = ""
    """Object store of content and vectors: a folder or a URL. Default: `objects` in the home folder."""
    cache: Path = Path("~/.cache/millrace")
    """Per-user folder for what is fetched once (Kafka). Default: `millrace` in `XDG_CACHE_HOME`, or in `~/.cache`."""
    kafka: KafkaSettings = KafkaSettings()
    """Kafka."""
    partitions: PartitionSettings = PartitionSettings()
    """Partitions."""
    models: ModelSettings = ModelSettings()
    """Models."""
    stores: StoreSettings = StoreSettings()
    """Stores."""
    worker: WorkerSettings = WorkerSettings()
    """Workers."""
    tenant: TenantSettings = TenantSettings()
    """Tenant defaults."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature, here and below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor alone: `load` merges the sources, and a test's settings are its own."""
        return (init_settings,)

    @field_validator("profile", mode="before")
    @classmethod
    def _profile_exists(cls, value: object) -> object:
        if value in _LATER_PROFILES:
            raise ValueError(f"profile {value!r} is not part of this release; use 'embedded' or 'kafka'")
        return value

    @field_validator("home", "cache")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("objects")
    @classmethod
    def _absolute_objects(cls, value: str, info: ValidationInfo) -> str:
        if "://" in value or "home" not in info.data:
            return value
        return str(Path(value).expanduser().absolute() if value else info.data["home"] / "objects")

    @model_validator(mode="after")
    def _bootstrap_has_a_use(self) -> Self:
        if self.bootstrap and self.profile == "embedded":
            raise ValueError(
                f"bootstrap {self.bootstrap!r} is given, but profile 'embedded' starts its own broker; "
                "use --profile kafka, or unset bootstrap"
            )
        return self

    @property
    def vectors(self) -> Path:
        """Folder of the vector tables."""
        return (self.stores.vectors or self.home / "vectors").absolute()

    @property
    def state(self) -> Path:
        """Folder of the visibility tables."""
        return (self.stores.state or self.home / "state").absolute()


@dataclass(frozen=True)
class Loaded:
    """Settings with where each came from.

    Attributes
    ----------
    settings : Settings
        The values.
    origins : mapping of str to str
        Origin by dotted name (``worker.max_in_flight``): ``flag``, ``environment NAME``, a file, or ``default``.
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
        for name, value in _flat(self.settings.model_dump(mode="json")):
            yield name, value, self.origins.get(name, "default")


def load(flags: Mapping[str, Any] | None = None, config: Path = CONFIG_FILE) -> Loaded:
    """Read all sources.

    Parameters
    ----------
    flags : mapping, optional
        Settings given on the command line, nested like `Settings`; None values count as not given.
    config : Path
        The settings file; it may be missing.

    Raises
    ------
    ConfigurationError
        A setting is unknown or out of bounds; the message names it, its origin and what is allowed.
    """
    try:
        in_file = TomlConfigSettingsSource(Settings, toml_file=config)()
        in_environment = EnvSettingsSource(Settings)()
    except ValueError as error:
        raise ConfigurationError(
            f"settings: {config} or a MILLRACE_ variable cannot be read: {error}; lists are written as JSON"
        ) from error
    origins: dict[str, str] = {}
    merged: dict[str, Any] = {}
    cache_home = os.environ.get("XDG_CACHE_HOME")
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("environment XDG_CACHE_HOME", {"cache": Path(cache_home) / "millrace"} if cache_home else {}),
        (f"file {config}", in_file),
        ("environment", in_environment),
        ("flag", flags or {}),
    ]
    for origin, layer in layers:
        for name, value in _flat(layer):
            if value is not None:
                _put(merged, name, value)
                variable = f"{origin} MILLRACE_{name.upper().replace('.', '__')}"
                origins[name] = variable if origin == "environment" else origin
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
    checkout = str(Path(__file__).parents[1])
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
        hidden = not name or "password" in name or problem["type"] == "extra_forbidden"
        found = "" if hidden else f" (found {problem['input']!r})"
        what = (
            "unknown setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        )
        lines.append(f"setting {name!r} from {origins.get(name, 'default')}: {what}{found}" if name else what)
    return "; ".join(lines) + ". See all settings with `python -m infra config`"
