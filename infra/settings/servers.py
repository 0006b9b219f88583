"""Settings of the servers: those that the launcher runs, and how to reach one of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Group(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(Group):
    """The Kafka node that the launcher runs, and how clients reach a broker."""

    java: str = "java"
    """Java 17 or newer: a name on the search path, or a path."""
    maven: str = "mvn"
    """Maven, needed once to fetch Kafka: a name on the search path, or a path."""
    heap_mb: int = Field(default=512, ge=256)
    """Java heap of the node, in MiB."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the node on loopback; 0 chooses a free one at each start. With three nodes they are always chosen."""
    nodes: Literal[1, 3] = 1
    """Nodes that the launcher runs; of three any one may be lost. Fixed once there is data."""
    secured: bool = False
    """Whether the nodes ask for passwords and allow each principal only what it needs. Fixed once there is data."""
    principal: Literal["worker", "corpus-worker", "query-worker", "learn-worker"] = "worker"
    """As whom a worker logs in at secured nodes: `worker` or one for a part of the agents; the rules go by it."""
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

    @field_validator("nodes", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """A number is a text in the environment."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value


class RegistrySettings(Group):
    """The schema registry; without one, schema ids derive from the schemas themselves."""

    url: str = ""
    """A registry of yours that speaks Confluent's protocol, to where `/subjects` begins."""
    run: bool = False
    """Start an Apicurio Registry beside the broker, where `url` is empty."""
    username: str = ""
    """User name, where the registry wants one."""
    password: SecretStr = SecretStr("")
    """Password; best given by the environment."""
    token: SecretStr = SecretStr("")
    """Bearer token, instead of user name and password; best given by the environment."""
    ca_location: Path | None = None
    """Certificates that sign the registry's; the system's by default."""
    timeout_s: float = Field(default=2.0, gt=0)
    """How long the registry may take to answer, in seconds."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the started registry on loopback; 0 chooses a free one."""
    heap_mb: int = Field(default=256, ge=128)
    """Java heap of the started registry, in MiB."""
    start_timeout_s: float = Field(default=90.0, gt=0)
    """How long the started registry may take to become ready, in seconds."""


class TritonSettings(Group):
    """The model server that the launcher runs, and how workers ask it or one of yours."""

    address: str = ""
    """`host:port` of the gRPC service of a server of yours; it needs the models that `write_model` makes."""
    key: SecretStr = SecretStr("")
    """What a server with restricted protocols asks for in the header `triton-grpc-protocol-millrace-key`."""
    tls_ca: Path | None = None
    """Certificates that sign the server's; without them the connection is not encrypted."""
    version: int = Field(default=1, ge=1)
    """Version of the models to use; others may be served beside it."""
    python: str = ""
    """Python 3.11 or 3.12 for the models of the launcher's server; by default the one that runs the launcher."""
    port: int = Field(default=0, ge=0, le=65535)
    """gRPC port of the launcher's server on loopback; 0 chooses a free one."""
    start_timeout_s: float = Field(default=60.0, gt=0)
    """How long the launcher's server may take to become ready, in seconds."""
    instances: int = Field(default=2, ge=1, le=64)
    """Processes of each lane's model, 100 MB each; with one alone, now and then a question waits for half a second."""
    batch_tokens: int = Field(default=1024, ge=256, le=65_536)
    """Tokens that run together, padding included."""
    interactive_queue: int = Field(default=64, ge=1)
    """Requests of questions that may wait in the server; one more is refused."""
    bulk_queue: int = Field(default=64, ge=1)
    """Requests of documents that may wait in the server; one more is refused."""
    bulk_in_flight: int = Field(default=4, ge=1, le=1024)
    """Requests of documents that a worker has under way at a time."""
    interactive_deadline_s: float = Field(default=5.0, gt=0)
    """Time for the embedding of a question, in seconds."""
    bulk_deadline_s: float = Field(default=30.0, gt=0)
    """Time for one batch of documents, in seconds, its wait in the server's queue included."""
    silence_s: float = Field(default=2.0, gt=0)
    """After this long without an answer a model has to prove that it lives, in seconds."""
    proof_s: float = Field(default=2.0, gt=0)
    """Time for such a proof, in seconds; when it fails, nobody asks until a proof succeeds."""


class WeaviateSettings(Group):
    """The Weaviate server that the launcher runs, or one of yours; used where `stores.kind` is `weaviate`."""

    url: str = ""
    """REST interface of a server of yours, `http://host:port` or `https://host:port`."""
    grpc: str = ""
    """gRPC interface of that server, `host:port`; with TLS where `url` is https."""
    api_key: SecretStr = SecretStr("")
    """Who the workers are to that server; best given by the environment. A key that may only read serves questions."""
    collection: str = Field(default="Millrace", pattern="^[A-Z][A-Za-z0-9]{0,62}$")
    """Start of the names of the two collections; stacks that share a server have one each."""
    replicas: int = Field(default=1, ge=1)
    """Copies of each row in a cluster; counts when the collections are created."""
    query_timeout_s: float = Field(default=30.0, gt=0)
    """How long a search or a read may take, in seconds."""
    write_timeout_s: float = Field(default=60.0, gt=0)
    """How long a write may take, in seconds."""
    go: str = "go"
    """Go 1.26 or newer, needed once to build the server: a name on the search path, or a path."""
    memory_mb: int = Field(default=2048, ge=256)
    """What the heap of the launcher's server may take before it collects garbage harder, in MiB."""
    port: int = Field(default=0, ge=0, le=65535)
    """REST port of the launcher's server on loopback; 0 chooses a free one at each start."""
    grpc_port: int = Field(default=0, ge=0, le=65535)
    """gRPC port of the launcher's server; 0 chooses a free one at each start."""
    start_timeout_s: float = Field(default=120.0, gt=0)
    """How long the launcher's server may take to become ready, in seconds."""


class CaptureSettings(Group):
    """Change capture from Postgres: what the rows of its tables mean, and where it and Kafka Connect are."""

    run: bool = False
    """Start a Postgres, and a Kafka Connect with Debezium, beside the broker."""
    mapping: Path | None = None
    """Mapping file; with one, the workers turn captured rows into documents."""
    database_url: SecretStr = SecretStr("")
    """The database, `postgresql://user:password@host/database`; best given by the environment. Default: the one that
    the launcher runs."""
    connect_url: str = ""
    """REST API of the Kafka Connect that runs Debezium, `http://host:8083`. Default: the one that the launcher runs."""
    postgres_port: int = Field(default=0, ge=0, le=65535)
    """Port of the Postgres that the launcher starts, on loopback; 0 chooses a free one."""
    connect_port: int = Field(default=0, ge=0, le=65535)
    """Port of the REST API of Kafka Connect, on loopback; 0 chooses a free one."""
    connect_heap_mb: int = Field(default=256, ge=128)
    """Java heap of Kafka Connect, in MiB."""
    start_timeout_s: float = Field(default=90.0, gt=0)
    """How long Postgres and Kafka Connect may take to become ready, in seconds."""
