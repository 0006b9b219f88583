"""Settings of traces, metrics and logs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from infra.settings.servers import Group


class TelemetrySettings(Group):
    """Traces by OpenTelemetry, and where metrics are offered."""

    export: bool = False
    """Whether workers and gateway make spans and send them; without, an event costs nothing more."""
    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    """Where spans go, by OTLP over HTTP: a collector, Tempo, Jaeger, a vendor; the whole address."""
    headers: SecretStr = SecretStr("")
    """Headers of those requests, `name=value,name=value`; best given by the environment."""
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of questions and documents that are traced, where their sender has not decided; all hops of one or none."""
    service: str = Field(default="millrace", min_length=1)
    """Name of the service that spans carry; the process is told apart by its instance."""
    queue: int = Field(default=4096, ge=1)
    """Spans that may wait to be sent; what comes beyond is dropped and counted."""
    batch: int = Field(default=256, ge=1)
    """Spans in one request."""
    interval_s: float = Field(default=2.0, gt=0)
    """Longest wait of a span for company, in seconds."""
    timeout_s: float = Field(default=5.0, gt=0)
    """Time for one request, repetitions included, in seconds; then its spans are dropped and counted."""
    health_host: str = "127.0.0.1"
    """Interface on which a worker answers `/ready`, `/alive` and `/metrics`; anyone who reaches it may read them."""
    health_port: int = Field(default=0, ge=0, le=65535)
    """Port of these; 0 chooses a free one, which is needed where a machine runs several workers."""

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("name the whole address, such as http://127.0.0.1:4318/v1/traces")
        if "@" in value.partition("//")[2].partition("/")[0]:
            raise ValueError("a password has no place in an address; put it into telemetry.headers")
        return value

    @model_validator(mode="after")
    def _batch_fits(self) -> Self:
        if self.batch > self.queue:
            raise ValueError(f"batch {self.batch} is larger than queue {self.queue}; raise the queue")
        return self

    def header_fields(self) -> dict[str, str]:
        """Headers by name."""
        pairs = (each.partition("=") for each in self.headers.get_secret_value().split(",") if each.strip())
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


class LogSettings(Group):
    """What workers and gateway write to standard error."""

    format: Literal["text", "json"] = "text"
    """`text` for people; `json`: an object a line, with the trace where one is active."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is written at least."""
