"""Set Debezium to work on a database: its connector's configuration, its slot, the first reading of each table.

Rows that are there already are read by an incremental snapshot, asked for through a table of signals once the connector
has written its first position down: it is part of the stream, so that every row read has a place among the changes, and
it goes on after a crash where it stopped. A snapshot before the stream has neither.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from infra.servers.connect import ConnectRest
from millrace.errors import ConfigurationError, Unavailable
from streams.sources.cdc import CaptureMapping
from streams.sources.cdc.capture import MAX_RECORD_BYTES

SIGNALS: Final = "public.millrace_signal"
_POLL_S: Final = 0.1
_CREATE_SIGNALS: Final = """
CREATE TABLE IF NOT EXISTS public.millrace_signal (id varchar(200) PRIMARY KEY, type varchar(32) NOT NULL, data text)
"""
_ASK: Final = """
INSERT INTO public.millrace_signal VALUES (%s, 'execute-snapshot', %s) ON CONFLICT (id) DO NOTHING
"""


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
    parts = _parts(url)
    keys = [f"{table}:{','.join(meaning.key)}" for table, meaning in mapping.tables.items() if meaning.key]
    name = connector_name(mapping)
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "topic.prefix": mapping.name,
        "database.hostname": parts.get("host", "localhost"),
        "database.port": str(parts.get("port", 5432)),
        "database.user": parts.get("user", ""),
        "database.password": parts.get("password", ""),
        "database.dbname": parts.get("dbname", "postgres"),
        "database.sslmode": parts.get("sslmode", "prefer"),
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
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as database:
            database.execute(_CREATE_SIGNALS)
            rest.put(name, config)
            rest.wait_running(name, timeout_s)
            progress(f"connector {name} runs")
            _wait_positioned(rest, name, timeout_s)
            for table in mapping.tables:
                data = json.dumps({"data-collections": [table], "type": "incremental"})
                if database.execute(_ASK, [f"{name}.{table}", data]).rowcount:
                    progress(f"reading the rows of {table}")
    except psycopg.Error as error:
        raise ConfigurationError(
            f"the database of mapping {mapping.name!r} cannot be used: {str(error).strip()}; check "
            "capture.database_url and the user's rights (docs/how-to/capture-changes.md)"
        ) from error


def _wait_positioned(rest: ConnectRest, name: str, timeout_s: float) -> None:
    """Wait for the first position that a restart goes on from: what changes before it is left to the snapshot."""
    deadline = time.monotonic() + timeout_s
    while not rest.offsets(name):
        if time.monotonic() > deadline:
            raise Unavailable(f"connector {name!r} wrote no position down within {timeout_s:g} s; see its log")
        time.sleep(_POLL_S)


def _parts(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error as error:
        raise ConfigurationError(
            f"capture.database_url cannot be read: {error}; write postgresql://user:password@host:port/database"
        ) from error
