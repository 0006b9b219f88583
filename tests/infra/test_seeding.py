"""After `down` and `up` on the embedded broker, the new log holds what the workers' tables knew."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from infra.launch.seeding import seed_embedded, table_path, tables_to_seed
from infra.launch.up import down, up
from infra.settings import Loaded, load
from millrace.errors import ConfigurationError
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from streams.visibility.table import VisibilityTable
from tests.streams.visibility.corpus_log import CODEC, Consumed, CorpusLog, acl, indexed


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    loaded = load({"home": tmp_path / "home", "worker": {"count": 0}}, tmp_path / "none")
    yield loaded
    down(loaded.settings)


def _log(n_documents: int) -> CorpusLog:
    log = CorpusLog()
    for n in range(n_documents):
        log.append(acl(f"document-{n}", 1, "*"))
        log.append(indexed(f"document-{n}", 1, acl_version=1))
    return log


def _fold(path: Path, records: Sequence[Consumed], log_epoch: str = "one") -> None:
    table = VisibilityTable.open(path, CODEC, log_epoch)
    table.fold(records)
    table.close()


async def _values(bootstrap: str, topic: str) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=5) as consumer:
        partitions = [TopicPartition(topic, n) for n in range(4)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        values: list[bytes] = []
        while len(values) < sum(ends.values()):
            values += [each.value for batch in (await consumer.getmany(timeout_ms=1000)).values() for each in batch]
        return values


async def test_a_new_log_holds_the_versions_and_access_of_the_last_run_byte_for_byte(loaded: Loaded) -> None:
    log = _log(5)
    _fold(table_path(loaded.settings.state, "worker-1"), log.records)
    said: list[str] = []
    stack = await _in_thread(loaded, said)
    for topic in (ACL_CHANGED.name, DOCUMENT_INDEXED.name):
        wanted = sorted(record.value or b"" for record in log.records if record.topic == topic)
        assert sorted(await _values(stack, topic)) == wanted
    assert any("seeded the new log with 10 records" in line for line in said)


async def test_without_an_earlier_run_nothing_is_seeded(loaded: Loaded) -> None:
    said: list[str] = []
    assert await _values(await _in_thread(loaded, said), DOCUMENT_INDEXED.name) == []
    assert not [line for line in said if "seeded" in line]


def test_one_table_folded_to_the_end_is_enough(tmp_path: Path) -> None:
    log = _log(6)
    _fold(table_path(tmp_path, "worker-1"), log.records[:4])
    _fold(table_path(tmp_path, "worker-2"), log.records)
    _fold(table_path(tmp_path, "worker-3"), log.records)
    assert tables_to_seed(tmp_path) == [table_path(tmp_path, "worker-2")]


def test_tables_that_are_each_ahead_somewhere_are_seeded_together(tmp_path: Path) -> None:
    records = _log(12).records
    first = [record for record in records if record.partition == 0]
    second = [record for record in records if record.partition == 1]
    _fold(table_path(tmp_path, "worker-1"), first)
    _fold(table_path(tmp_path, "worker-2"), second)
    assert set(tables_to_seed(tmp_path)) == {table_path(tmp_path, "worker-1"), table_path(tmp_path, "worker-2")}


def test_a_table_of_an_earlier_run_adds_nothing_to_those_of_the_last_one(tmp_path: Path) -> None:
    _fold(table_path(tmp_path, "worker-2"), _log(9).records, "earlier")
    _fold(table_path(tmp_path, "worker-1"), _log(3).records, "last")
    assert tables_to_seed(tmp_path) == [table_path(tmp_path, "worker-1")]


def test_a_table_put_aside_by_a_start_that_was_cut_off_is_still_seeded(tmp_path: Path) -> None:
    path = table_path(tmp_path, "worker-1")
    path.parent.mkdir(exist_ok=True)
    _fold(path, _log(3).records, "one")
    _fold(path, [], "two")
    assert list(tmp_path.glob("*.earlier"))
    assert tables_to_seed(tmp_path) == [path]
    path.unlink()
    assert tables_to_seed(tmp_path) == [path]


def test_a_damaged_table_stops_the_start_instead_of_being_dropped(loaded: Loaded) -> None:
    path = table_path(loaded.settings.state, "worker-1")
    _fold(path, _log(3).records)
    _fold(table_path(loaded.settings.state, "worker-2"), _log(3).records)
    path.write_bytes(b"no table" * 4096)
    with pytest.raises(ConfigurationError, match="damaged"):
        up(loaded, seed=seed_embedded)
    assert not (loaded.settings.home / "stack.json").exists()


async def _in_thread(loaded: Loaded, said: list[str]) -> str:
    """Start from a thread: seeding runs a loop of its own."""
    result = await asyncio.to_thread(up, loaded, seed=seed_embedded, progress=said.append)
    return result.stack.bootstrap
