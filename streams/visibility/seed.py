"""Bring the state of an earlier run into the log of a new embedded broker.

That broker's log is gone with its process, the table's file is not. Before the workers start, the newest versions and
access of every document are published again: the same bytes, keys and headers, so that ids, versions and chunk ids are
what they were and nothing is embedded again. A seed that was cut off is repeated: readers drop ids they have seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from millrace.errors import ConfigurationError, TooLarge, Unavailable
from millrace.keys import partition_for
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from streams.visibility.file import Damaged, TableFile
from streams.visibility.packing import Name, unpack
from streams.visibility.state import State
from streams.visibility.table import earlier_files

log = logging.getLogger(__name__)

_IN_FLIGHT: Final = 1000
_PARTITION_BYTES: Final = 4_500_000
"""The embedded broker forgets the oldest records of a partition beyond about 5 MB."""

Stored = tuple[str, bytes, bytes, list[tuple[str, bytes]]]


class Seeded(msgspec.Struct, frozen=True):
    """How much was published."""

    n_versions: int = 0
    n_accesses: int = 0


async def seed(path: Path, connection: Mapping[str, Any], *, log_epoch: str) -> Seeded:
    """Publish what earlier runs knew, and return when the broker has acknowledged all of it.

    Parameters
    ----------
    path : Path
        The table's file of a worker; files beside it that wait for a new one to catch up are read first.
    connection : mapping
        Options of an aiokafka client of the new broker, whose topics exist.
    log_epoch : str
        Its life of the log: a file that belongs to it needs no seed.

    Raises
    ------
    ConfigurationError
        If a file is damaged or held by a worker.
    TooLarge
        If the state does not fit into the broker's memory.
    Unavailable
        If the broker does not take it; the seed can be repeated.
    """
    records: list[Stored] = []
    for file in [*earlier_files(path), path]:
        if file.exists():
            records += await asyncio.to_thread(_stored, file, log_epoch)
    if not records:
        return Seeded()
    producer = AIOKafkaProducer(**connection, acks="all", enable_idempotence=True, linger_ms=5)
    try:
        await producer.start()
        try:
            await _publish(producer, records)
        finally:
            await producer.stop()
    except KafkaError as error:
        where = connection["bootstrap_servers"]
        raise Unavailable(f"the broker at {where} did not take the state of {path}: {error}; try again") from error
    n_versions = sum(record[0] == DOCUMENT_INDEXED.name for record in records)
    log.info("seeded %d versions and %d access records from %s", n_versions, len(records) - n_versions, path)
    return Seeded(n_versions, len(records) - n_versions)


async def _publish(producer: AIOKafkaProducer, records: list[Stored]) -> None:
    sizes: dict[tuple[str, int], int] = {}
    counts = {topic: len(await producer.partitions_for(topic)) for topic in (ACL_CHANGED.name, DOCUMENT_INDEXED.name)}
    waiting = []
    for topic, key, value, headers in records:
        partition = partition_for(key, counts[topic])
        sizes[topic, partition] = sizes.get((topic, partition), 0) + len(key) + len(value) + _length(headers)
        if sizes[topic, partition] > _PARTITION_BYTES:
            raise TooLarge(
                f"the state to seed exceeds {_PARTITION_BYTES} bytes for {topic}/{partition}, which is what the "
                f"embedded broker keeps of a partition; configure more partitions than {counts[topic]}, or use "
                "--profile kafka"
            )
        waiting.append(await producer.send(topic, value, key=key, partition=partition, headers=headers))
        if len(waiting) >= _IN_FLIGHT:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)


def _length(headers: list[tuple[str, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _stored(path: Path, log_epoch: str) -> list[Stored]:
    """Access first, then versions, oldest first: the order in which they were folded."""
    try:
        file = TableFile(path, log_epoch)
    except Damaged as error:
        raise _unusable(path, error) from error
    with file:
        if file.log_epoch == log_epoch:
            return []
        try:
            state = State.load(file)
            return list(_counting(file, state))
        except (Damaged, ValueError) as error:
            raise _unusable(path, error) from error


def _counting(file: TableFile, state: State) -> Iterator[Stored]:
    """Records that count: access, the effective version, newer ones that wait for it, and access that is unread."""
    accesses: list[tuple[int, Name]] = []
    versions: list[tuple[int, Name]] = []
    for tenant, documents in state.tenants.items():
        for name, document in documents.documents.items():
            accesses += [(document.access.row, (tenant, name))] if document.access is not None else []
            versions += [(version.row, (tenant, name)) for version in document.versions]
    for table, topic, rows in (("accesses", ACL_CHANGED, accesses), ("versions", DOCUMENT_INDEXED, versions)):
        for row, owner in sorted(rows):
            sql = f"SELECT record FROM {table} WHERE id = ?"  # noqa: S608 - names of ours
            yield topic.name, *unpack(owner, file.select(sql, (row,))[0][0])
    for key, _, record, _ in file.rows("unread"):  # after the access that it is newer than
        value, headers = msgspec.msgpack.decode(record, type=tuple[bytes, list[tuple[str, bytes]]])
        yield ACL_CHANGED.name, key, value, headers


def _unusable(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the visibility table {path} of the earlier run is damaged ({error}); move it away to start with an empty "
        "index, then ingest the sources again"
    )
