"""Set Debezium to work on a database: its connector's configuration, its slot, the first reading of each table.

Rows that are there already are read by an incremental snapshot, asked for through a table of signals once the connector
has written its first position down: it is part of the stream, so that every row read has a place among the changes, and
it goes on after a crash where it stopped. A snapshot before the stream has neither.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from confluent_kafka.admin import AdminClient
from pg8000 import dbapi

from infra.launch.broker import broker_connection
from infra.launch.change_capture import SIGNALS, connect_url, database_url
from infra.launch.elsewhere import stack_of
from infra.servers.connect import ConnectRest
from infra.settings import Settings
from millrace.errors import ConfigurationError, Unavailable
from streams.admin import create_topics, plan_topics, refuse_compacted
from streams.sources.cdc import CaptureMapping, capture_topics, read_mapping
from streams.sources.cdc.capture import MAX_RECORD_BYTES

_POLL_S: Final = 0.1
_PORT: Final = 5432
_ANSWER_S: Final = 30
# What pg8000 does about encryption: None takes it where the server offers it.
_SSL_MODES: Final[Mapping[str, bool | None]] = {
    "disable": False, "prefer": None, "require": True, "verify-ca": True, "verify-full": True
}  # fmt: skip
_CREATE_SIGNALS: Final = """
CREATE TABLE IF NOT EXISTS public.millrace_signal (id varchar(200) PRIMARY KEY, type varchar(32) NOT NULL, data text)
"""
_ASK: Final = """
INSERT INTO public.millrace_signal VALUES (%s, 'execute-snapshot', %s) ON CONFLICT (id) DO NOTHING
"""


class Database(NamedTuple):
    """Where a database is and how to log in; holds the password in clear."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str

    @classmethod
    def at(cls, url: str) -> Database:
        """Database of a URL, ``postgresql://user:password@host:port/database?sslmode=verify-full``.

        Raises
        ------
        ConfigurationError
            The URL is none, or of something else.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORT
        except ValueError:
            parts, port = urlsplit(""), _PORT
        name, sslmode = parts.path.strip("/"), parse_qs(parts.query).get("sslmode", ["prefer"])[-1]
        if parts.scheme not in {"postgresql", "postgres"} or not (parts.hostname and parts.username and name):
            raise ConfigurationError(
                "capture.database_url cannot be read; write postgresql://user:password@host:port/database"
            )
        if sslmode not in _SSL_MODES:
            raise ConfigurationError(
                f"capture.database_url has sslmode={sslmode!r}; allowed are {', '.join(sorted(_SSL_MODES))}"
            )
        user, password = unquote(parts.username), unquote(parts.password or "")
        return cls(parts.hostname, port, user, password, unquote(name), sslmode)

    def connect(self) -> dbapi.Connection:
        """An open connection that commits each statement.

        Raises
        ------
        pg8000.dbapi.Error
            The database does not answer, or does not let us in.
        """
        verified = ssl.create_default_context() if self.sslmode.startswith("verify") else None
        found = dbapi.connect(
            self.user,
            self.host,
            self.database,
            self.port,
            self.password,
            ssl_context=verified or _SSL_MODES[self.sslmode],
            timeout=_ANSWER_S,
        )
        found.autocommit = True
        return found


def capture(settings: Settings, progress: Callable[[str], None] = lambda _: None) -> CaptureMapping:
    """Prepare the stack in the home folder for a capture: topics, connector, first reading; gives the mapping.

    Raises
    ------
    ConfigurationError
        A setting is missing, or the stack's broker cannot carry Kafka Connect.
    StackNotFound
        Nothing runs in the home folder, and no brokers are named.
    MillraceError
        As of `start_capture`.
    """
    stack = stack_of(settings)
    if stack.control:
        raise ConfigurationError(
            "Kafka Connect cannot keep its state on the embedded broker; start the stack with --profile kafka"
        )
    url, connect, path = database_url(settings, stack), connect_url(settings, stack), settings.capture.mapping
    for name, given in (("mapping", path), ("database_url", url), ("connect_url", connect)):
        if not given:
            raise ConfigurationError(
                f"setting capture.{name} is missing; docs/how-to/capture-changes.md says what to write"
            )
    mapping = read_mapping(Path(path or ""))
    client = AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
    plans = plan_topics(capture_topics(mapping), settings.partitions.model_dump())
    create_topics(client, plans)
    refuse_compacted(client, [topic.name for topic in capture_topics(mapping)])
    start_capture(ConnectRest.at(connect), mapping, url, progress=progress)
    return mapping


def connector_name(mapping: CaptureMapping) -> str:
    """Name of the connector, its publication and its slot: one for each life of the database."""
    return f"millrace_{mapping.name}_{mapping.epoch}"


def connector_config(mapping: CaptureMapping, url: str) -> dict[str, str]:
    """Configuration of Debezium's Postgres connector for the tables of a mapping.

    Parameters
    ----------
    mapping : CaptureMapping
        Names the tables, and the columns that name their rows.
    url : str
        ``postgresql://user:password@host:port/database``.

    Raises
    ------
    ConfigurationError
        The URL cannot be read.
    """
    parts = Database.at(url)
    keys = [f"{table}:{','.join(meaning.key)}" for table, meaning in mapping.tables.items() if meaning.key]
    name = connector_name(mapping)
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "topic.prefix": mapping.name,
        "database.hostname": parts.host,
        "database.port": str(parts.port),
        "database.user": parts.user,
        "database.password": parts.password,
        "database.dbname": parts.database,
        "database.sslmode": parts.sslmode,
        "plugin.name": "pgoutput",
        "slot.name": name,
        "publication.name": name,
        "publication.autocreate.mode": "filtered",
        "table.include.list": ",".join(table.replace(".", r"\.") for table in mapping.tables),
        **({"message.key.columns": ";".join(keys)} if keys else {}),
        # With the row before, a large value that did not change is known, and a key may hold any column.
        "replica.identity.autoset.values": ",".join(f"{table}:FULL" for table in mapping.tables),
        "snapshot.mode": "no_data",
        "signal.data.collection": SIGNALS,
        "skipped.operations": "none",  # by default truncations are passed over in silence
        "heartbeat.interval.ms": "1000",  # positions move on while the captured tables rest
        "retriable.restart.connector.wait.ms": "2000",  # after the database was away
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "interval.handling.mode": "string",
        "binary.handling.mode": "base64",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "false",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "producer.override.max.request.size": str(MAX_RECORD_BYTES),
        "topic.creation.default.replication.factor": "-1",
        "topic.creation.default.partitions": "1",
    }


def start_capture(
    rest: ConnectRest,
    mapping: CaptureMapping,
    url: str,
    *,
    timeout_s: float = 60.0,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Create or change the connector, wait until it streams, and ask once for the rows that are there.

    Any number of calls have the effect of one; a table that is new in the mapping is read once as well. The topics of
    the tables must exist.

    Parameters
    ----------
    rest : ConnectRest
        The worker that is to run the connector.
    mapping : CaptureMapping
        What to capture.
    url : str
        The database, ``postgresql://user:password@host:port/database``. The user may replicate, owns the captured
        tables, and may create one in the schema ``public``.
    timeout_s : float
        How long the connector may take to run, and again to write its first position down, in seconds.
    progress : callable
        Receives a line at each step.

    Raises
    ------
    ConfigurationError
        The database cannot be used, or Connect refuses the configuration.
    InputRejected
        The connector failed; the message carries why.
    Unavailable
        Connect or the connector is not ready in time.
    """
    name, config = connector_name(mapping), connector_config(mapping, url)
    try:
        with contextlib.closing(Database.at(url).connect()) as database:
            asking = database.cursor()
            asking.execute(_CREATE_SIGNALS)
            rest.put(name, config)
            rest.wait_running(name, timeout_s)
            progress(f"connector {name} runs")
            _wait_positioned(rest, name, timeout_s)
            for table in mapping.tables:
                data = json.dumps({"data-collections": [table], "type": "incremental"})
                asking.execute(_ASK, [f"{name}.{table}", data])
                if asking.rowcount:
                    progress(f"reading the rows of {table}")
    except dbapi.Error as error:
        reason = error.args[0].get("M") if error.args and isinstance(error.args[0], dict) else error
        raise ConfigurationError(
            f"the database of mapping {mapping.name!r} cannot be used: {reason}; check capture.database_url and the "
            "user's rights (docs/how-to/capture-changes.md)"
        ) from error


def _wait_positioned(rest: ConnectRest, name: str, timeout_s: float) -> None:
    """Wait for the first position that a restart goes on from: what changes before it is left to the snapshot."""
    deadline = time.monotonic() + timeout_s
    while not rest.offsets(name):
        if time.monotonic() > deadline:
            raise Unavailable(f"connector {name!r} wrote no position down within {timeout_s:g} s; see its log")
        time.sleep(_POLL_S)
