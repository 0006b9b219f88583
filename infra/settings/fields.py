"""Every setting, with its default, its bounds and what it does; the reference page is made from this module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from infra.settings.gateway import GatewaySettings
from infra.settings.servers import (
    CaptureSettings,
    Group,
    KafkaSettings,
    RegistrySettings,
    TritonSettings,
    WeaviateSettings,
)
from infra.settings.telemetry import LogSettings, TelemetrySettings
from millrace.connection import EMBEDDED_FETCH_MS, EMBEDDED_IDLE_MS, FETCH_MS
from millrace.groups import EVERYONE

PROFILE_DEFAULTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "native": {"registry": {"run": True}, "stores": {"kind": "weaviate"}, "models": {"server": "triton"}}
}
"""What a profile sets that is not set otherwise, by group and name."""
_LATER_PROFILES: Final = ("compose", "kubernetes")


class PartitionSettings(Group):
    """Partitions of the topics of each key group; fixed once the topics exist."""

    corpus: int = Field(default=4, ge=1, le=256)
    """Topics keyed by document."""
    query: int = Field(default=4, ge=1, le=256)
    """Topics keyed by conversation."""
    tenant: int = Field(default=4, ge=1, le=256)
    """Topics keyed by tenant."""
    reply: int = Field(default=4, ge=1, le=256)
    """The reply topic; each asker reads one partition."""


class ModelSettings(Group):
    """Models, and where they run."""

    server: Literal["in_process", "triton"] = "in_process"
    """`in_process`: inside the workers; `triton`: behind a Triton server, which workers share; `hashing` needs none."""
    embedder: Literal["minilm", "hashing"] = "minilm"
    """`minilm`: all-MiniLM-L6-v2 in int8; `hashing`: words hashed to vectors, fast and without meaning, for tests."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads of one model call."""


class ParserSettings(Group):
    """What a document that is no plain text may cost; each is parsed in a child process of the worker."""

    processes: int = Field(default=2, ge=1, le=64)
    """Documents parsed at a time, each in a process of its own, as long as they are quick."""
    slow_processes: int = Field(default=2, ge=1, le=64)
    """Documents beside those that have taken longer than `slice_s`, so that quick ones do not wait behind them."""
    slice_s: float = Field(default=0.25, gt=0)
    """Time after which a document is slow, in seconds."""
    wall_s: float = Field(default=30.0, gt=0)
    """Time for one document, in seconds."""
    cpu_s: int = Field(default=20, ge=1)
    """Processor time for one document, in seconds."""
    memory_mb: int = Field(default=1024, ge=256)
    """Address space of a process, in MiB."""
    max_text_chars: int = Field(default=16 * 1024 * 1024, ge=1)
    """Characters of the text made of a document."""
    max_inflated_mb: int = Field(default=256, ge=1)
    """What the parts of an Office file may hold together, in MiB."""
    max_inflation: int = Field(default=200, ge=1)
    """How many times its packed size a part of an Office file may hold, from 1 MiB on."""
    max_depth: int = Field(default=200, ge=10, le=250)
    """Nesting of elements, arrays and objects."""
    documents_per_process: int = Field(default=200, ge=1)
    """Documents after which a process is replaced."""


class ScannerSettings(Group):
    """What it may cost to scan texts for orders to a model; in child processes of the worker."""

    processes: int = Field(default=1, ge=1, le=64)
    """Documents scanned at a time; questions have a process of their own."""
    window_cpu_s: float = Field(default=3.0, gt=0)
    """Processor time for 8,000 characters, in seconds; a text that needs more counts as not read to its end."""
    text_s: float = Field(default=60.0, gt=0)
    """Time for one text, waits left out, in seconds."""
    memory_mb: int = Field(default=1024, ge=256)
    """Address space of a process, in MiB."""


class StoreSettings(Group):
    """Where a worker keeps what it folds and searches."""

    kind: Literal["lance", "weaviate"] = "lance"
    """Where chunk rows are: `lance`, tables in a folder of this machine; `weaviate`, a server, see its settings."""
    vectors: Path | None = None
    """Vector tables. Default: `vectors` in the home folder."""
    state: Path | None = None
    """Visibility tables of the workers. Default: `state` in the home folder."""


class WorkerSettings(Group):
    """How workers consume, retry and commit."""

    count: int = Field(default=1, ge=0, le=64)
    """Worker processes that `up` starts."""
    agents: tuple[str, ...] = ()
    """Modules whose agents the workers run; empty runs Millrace's own."""
    cut: tuple[str, ...] = ()
    """Stages of fused runs that run on their own: each reads its input from the log, and the run is cut before it."""
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
    fetch_max_wait_ms: int = Field(default=FETCH_MS, ge=1)
    """How long a broker may hold a fetch that finds nothing; on the embedded broker at most 5."""
    retry_initial_ms: int = Field(default=100, ge=1)
    """Wait before the first repetition; doubles each time, with jitter."""
    retry_max_ms: int = Field(default=10_000, ge=1)
    """Longest wait between repetitions."""
    ready_timeout_s: float = Field(default=60.0, gt=0)
    """How long a worker may take to become ready, in seconds."""
    version_retention_s: float = Field(default=30 * 86_400.0, ge=0)
    """How long a superseded version can still be read, in seconds; then its rows are garbage."""
    maintenance_interval_s: float = Field(default=600.0, gt=0)
    """Time between looks for versions that have passed the retention, in seconds."""


class TenantSettings(Group):
    """Whose documents and questions they are, when nothing is said."""

    id: str = Field(default="default", min_length=1)
    """Tenant."""
    groups: tuple[str, ...] = (EVERYONE,)
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
    profile: Literal["embedded", "kafka", "native"] = "embedded"
    """`embedded`: the broker in memory, from Python packages alone; `kafka`: a Kafka node of its own, durable;
    `native`: Kafka, schema registry, Weaviate and Triton as servers."""
    bootstrap: str = ""
    """With profile `kafka` or `native`, a broker of yours (`host:port,host:port`); empty starts one."""
    objects: str = ""
    """Folder of content and vectors, shared by workers and apps. Default: `objects` in the home folder."""
    cache: Path = Path("~/.cache/millrace")
    """Per-user folder for what is fetched or built once: servers and models. Default: `millrace` in `XDG_CACHE_HOME`,
    or in `~/.cache`."""
    kafka: KafkaSettings = KafkaSettings()
    """Kafka."""
    registry: RegistrySettings = RegistrySettings()
    """Schema registry."""
    partitions: PartitionSettings = PartitionSettings()
    """Partitions."""
    models: ModelSettings = ModelSettings()
    """Models."""
    triton: TritonSettings = TritonSettings()
    """Triton."""
    parser: ParserSettings = ParserSettings()
    """Parsers."""
    scanner: ScannerSettings = ScannerSettings()
    """Scanners."""
    stores: StoreSettings = StoreSettings()
    """Stores."""
    weaviate: WeaviateSettings = WeaviateSettings()
    """Weaviate."""
    worker: WorkerSettings = WorkerSettings()
    """Workers."""
    tenant: TenantSettings = TenantSettings()
    """Tenant defaults."""
    capture: CaptureSettings = CaptureSettings()
    """Change capture."""
    gateway: GatewaySettings = GatewaySettings()
    """Gateway."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Telemetry."""
    logs: LogSettings = LogSettings()
    """Logs."""
    corpus: dict[str, Any] = {}
    """Policy of the corpus path, by field of `agents.corpus.policy.CorpusPolicy`; JSON in the environment."""
    query: dict[str, Any] = {}
    """Policy of the question path, by field of `agents.query.policy.QueryPolicy`; JSON in the environment."""
    guard: dict[str, Any] = {}
    """Policy of the guards, by field of `agents.guard.policy.GuardPolicy`; JSON in the environment."""
    learn: dict[str, Any] = {}
    """Policy of the learning loop, by field of `agents.learn.policy.LearnPolicy`; JSON in the environment."""

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
            raise ValueError(f"profile {value!r} is not part of this release; use 'embedded', 'kafka' or 'native'")
        return value

    @field_validator("home", "cache")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("objects")
    @classmethod
    def _absolute_objects(cls, value: str, info: ValidationInfo) -> str:
        if "://" in value:
            raise ValueError("URLs are not part of this release; name a folder, on a file system that all workers see")
        if "home" not in info.data:
            return value
        return str(Path(value).expanduser().absolute() if value else info.data["home"] / "objects")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_profile(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put in what the profile sets and nobody else did."""
        found = dict(values)
        for group, defaults in PROFILE_DEFAULTS.get(str(values.get("profile")), {}).items():
            given = found.get(group, {})
            if isinstance(given, BaseModel):
                given = given.model_dump(exclude_unset=True)
            found[group] = {**defaults, **given} if isinstance(given, Mapping) else given
        return found

    @model_validator(mode="after")
    def _bootstrap_has_a_use(self) -> Self:
        if self.bootstrap and self.profile == "embedded":
            raise ValueError(
                f"bootstrap {self.bootstrap!r} is given, but profile 'embedded' starts its own broker; "
                "use --profile kafka or native, or unset bootstrap"
            )
        return self

    @model_validator(mode="after")
    def _registry_has_a_use(self) -> Self:
        if self.profile == "embedded" and (self.registry.url or self.registry.run):
            raise ValueError(
                "a schema registry is set, but the log of profile 'embedded' numbers schemas by itself; use --profile "
                "kafka, or unset registry.url and registry.run"
            )
        return self

    @property
    def fetch_max_wait_ms(self) -> int:
        """How long this profile's broker may hold a fetch that finds nothing, in milliseconds."""
        chosen = self.worker.fetch_max_wait_ms
        return min(chosen, EMBEDDED_FETCH_MS) if self.profile == "embedded" else chosen

    @property
    def fetch_waits(self) -> dict[str, int]:
        """Options of what reads on for ever: how long a fetch may be held while records come, and after silence."""
        longest_ms = EMBEDDED_IDLE_MS if self.profile == "embedded" else self.fetch_max_wait_ms
        return {"fetch_max_wait_ms": self.fetch_max_wait_ms, "fetch_idle_wait_ms": longest_ms}

    @property
    def vectors(self) -> Path:
        """Folder of the vector tables."""
        return (self.stores.vectors or self.home / "vectors").absolute()

    @property
    def state(self) -> Path:
        """Folder of the visibility tables."""
        return (self.stores.state or self.home / "state").absolute()
