"""The adapter on a real Weaviate: the contract of every vector store, and what only a server can do to it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
import weaviate as client_library
from weaviate.classes.config import Configure, DataType, Property, Tokenization
from weaviate.classes.init import Auth

from millrace.errors import ConfigurationError, InputRejected, MillraceError, Unavailable, classify
from millrace.rows import ChunkRow
from streams.stores.weaviate import Address, WeaviateVectorStore, collection
from streams.stores.weaviate.collection import WeaviateRows, batches
from streams.stores.weaviate.failures import meaning_of
from tests.conditions import until
from tests.streams.stores.vector_store_contract import DIM, VectorStoreContract, assert_same, chunk, ids, unit
from tests.tcp_proxy import TcpProxy
from tests.weaviate_servers import StartWeaviate, Weaviate

OpenStore = Callable[..., WeaviateVectorStore]


@pytest.fixture
async def open_store(weaviate: Weaviate) -> AsyncIterator[OpenStore]:
    opened: list[WeaviateVectorStore] = []

    def open_one(**options: Any) -> WeaviateVectorStore:
        given: dict[str, Any] = {
            "dim": DIM,
            "api_key": weaviate.keys.worker,
            "collection": weaviate.collection,
        } | options
        opened.append(WeaviateVectorStore(given.pop("address", weaviate.address), **given))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.mark.timeout(120)
class TestWeaviateVectorStore(VectorStoreContract):
    """The production adapter."""


def _row(row: ChunkRow, **changes: Any) -> ChunkRow:
    return ChunkRow(**{name: getattr(row, name) for name in ChunkRow.__struct_fields__} | changes)


def _admin(weaviate: Weaviate, method: str, path: str, body: Any) -> None:
    headers = {"Authorization": f"Bearer {weaviate.keys.admin}"}
    httpx.request(method, f"{weaviate.address.url}/v1/{path}", json=body, headers=headers).raise_for_status()


# --- rows that a server does not take


async def test_of_a_batch_the_good_rows_are_kept_and_the_bad_one_is_named(open_store: OpenStore) -> None:
    store = open_store()
    rows = [chunk(i) for i in range(6)]
    await store.upsert(rows[:1])
    bad = _row(rows[3], vector=unit(3, DIM + 1))
    with pytest.raises(InputRejected, match=f"1 of 5 rows, first chunk {bad.chunk_id}") as raised:
        await store._tenant("t").live.insert([*rows[1:3], bad, *rows[4:]])
    assert classify(raised.value) == "permanent"
    assert await store.existing("t", ids(rows)) == set(ids(rows)) - {bad.chunk_id}


async def test_a_batch_of_which_nothing_is_taken_is_an_error_too(open_store: OpenStore) -> None:
    store = open_store()
    await store.upsert([chunk(0)])
    bad = [_row(chunk(i), vector=unit(i, DIM + 1)) for i in (1, 2)]
    with pytest.raises(InputRejected, match="2 of 2 rows"):
        await store._tenant("t").live.insert(bad)
    assert await store.count("t") == 1


async def test_rows_that_a_full_disk_keeps_out_are_transient_and_come_in_later(
    open_store: OpenStore, weaviate: Weaviate
) -> None:
    store = open_store()
    rows = [chunk(i) for i in range(3)]
    await store.upsert(rows[:1])
    shard = f"schema/{weaviate.collection}Live/shards/{store._tenant('t').live._name}"
    _admin(weaviate, "PUT", shard, {"status": "READONLY"})  # as the server itself does when its disk fills up
    # The server names the first row of a batch only; the others are not to pass for written.
    with pytest.raises(Unavailable, match=r"2 of 2 rows now.*read-only"):
        await store.upsert(rows[1:])
    assert await store.count("t") == 1
    _admin(weaviate, "PUT", shard, {"status": "READY"})
    await store.upsert(rows[1:])
    assert await store.existing("t", ids(rows)) == set(ids(rows))


async def test_a_row_that_cannot_be_moved_stays_where_it_is(open_store: OpenStore, weaviate: Weaviate) -> None:
    store = open_store()
    rows = [chunk(1), chunk(2)]
    await store.upsert(rows)
    await store.archive("t", [rows[0].chunk_id])
    shard = f"schema/{weaviate.collection}Live/shards/{store._tenant('t').live._name}"
    _admin(weaviate, "PUT", shard, {"status": "READONLY"})
    with pytest.raises(Unavailable):
        await store.archive("t", [rows[1].chunk_id])
    with pytest.raises(Unavailable):
        await store.restore("t", [rows[0].chunk_id])
    with pytest.raises(Unavailable):
        await store.delete("t", ids(rows))
    assert await store.existing("t", ids(rows)) == set(ids(rows))
    _admin(weaviate, "PUT", shard, {"status": "READY"})
    await store.delete("t", ids(rows))
    assert await store.existing("t", ids(rows)) == set()


async def test_only_the_rows_that_failed_are_sent_again(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []
    really = WeaviateRows._send

    async def flaky(self: WeaviateRows, rows: Sequence[ChunkRow]) -> Mapping[int, str]:
        sent.append(ids(rows))
        refused = (1, 3) if len(sent) == 1 else (0,) if len(sent) == 2 else ()
        failed = await really(self, [row for place, row in enumerate(rows) if place not in refused])
        return {**failed, **dict.fromkeys(refused, "store is read-only due to: disk usage too high")}

    monkeypatch.setattr(WeaviateRows, "_send", flaky)
    store, rows = open_store(), [chunk(i) for i in range(5)]
    await store.upsert(rows)
    assert sent[:3] == [ids(rows), [rows[1].chunk_id, rows[3].chunk_id], [rows[1].chunk_id]]
    assert await store.existing("t", ids(rows)) == set(ids(rows))


async def test_one_part_that_fails_does_not_stop_the_others(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "BATCH_ROWS", 2)
    store = open_store()
    await store.upsert([chunk(99)])
    rows = [chunk(i) for i in range(8)]
    rows[2] = _row(rows[2], vector=unit(2, DIM + 1))
    with pytest.raises(InputRejected):
        await store._tenant("t").live.insert(rows)
    assert await store.existing("t", ids(rows)) == set(ids(rows)) - {rows[2].chunk_id}


def test_requests_are_bounded_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [chunk(i) for i in range(10)]
    monkeypatch.setattr(collection, "BATCH_ROWS", 4)
    assert [len(part) for part in batches(rows)] == [4, 4, 2]
    monkeypatch.setattr(collection, "BATCH_BYTES", 2 * max(row.nbytes for row in rows))
    assert [len(part) for part in batches(rows)] == [2] * 5
    monkeypatch.setattr(collection, "BATCH_BYTES", 1)
    assert [row for part in batches(rows) for row in part] == rows
    assert list(batches([])) == []


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("store is read-only due to: disk usage too high. Set to read-only at 92.00%", "transient"),
        ("cannot process batch: not enough memory", "transient"),
        ("leader not found", "transient"),
        ('rpc error: code = Unknown desc = tenant not found: "t-1"', "missing"),
        ("could not find class MillraceLive in schema", "missing"),
        ("new node has a vector with length 17. Existing nodes have vectors with length 16", "poison"),
        ("something new in 1.40", "unknown"),
    ],
)
def test_what_the_server_says_is_told_apart(message: str, meaning: str) -> None:
    assert meaning_of(message) == meaning


# --- collections that are not ours, or not as they should be


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tokenization": Tokenization.WORD}, "document_key"),
        ({"index_searchable": True}, "document_key"),
        ({"data_type": DataType.TEXT}, "document_key"),
    ],
)
async def test_a_collection_that_would_tokenize_ids_is_refused(
    open_store: OpenStore, weaviate: Weaviate, changes: dict[str, Any], found: str
) -> None:
    name = f"{weaviate.collection}Live"
    with client_library.connect_to_custom(
        *_parts(weaviate.address), auth_credentials=Auth.api_key(weaviate.keys.admin), skip_init_checks=True
    ) as admin:
        options = {"name": "document_key", "data_type": DataType.TEXT} | changes
        admin.collections.create(
            name,
            properties=[Property(**options)],
            multi_tenancy_config=Configure.multi_tenancy(enabled=True),
            vector_config=Configure.Vectors.self_provided(name="text"),
        )
    with pytest.raises(ConfigurationError, match=f"property '{found}' of Weaviate's collection {name}"):
        await open_store().upsert([chunk(1)])


def _parts(address: Address) -> tuple[str, int, bool, str, int, bool]:
    (rest_host, rest_port), (grpc_host, grpc_port) = (
        each.rpartition("/")[2].split(":") for each in (address.url, address.grpc)
    )
    return rest_host, int(rest_port), False, grpc_host, int(grpc_port), False


async def test_an_index_of_a_server_that_rounds_vectors_by_default_is_not_rounded(open_store: OpenStore) -> None:
    # The shared server has DEFAULT_QUANTIZATION=rq-8; what the contract finds exactly would be found nearly.
    store = open_store()
    await store.upsert([chunk(1)])
    config = await store._connection.read(
        "x", lambda c: c.collections.use(store._tenant("t").live._collection).config.get()
    )
    assert config.vector_config["text"].vector_index_config.quantizer is None


async def test_a_document_of_more_rows_than_one_request_gives_is_named_whole(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MAX_RESULTS", 10)
    store = open_store()
    rows = [*(chunk(i, sentences=0) for i in range(25)), chunk(1, document="other")]
    await store.upsert(rows)
    assert await store.of_document("t", "d") == set(ids(rows[:25]))


async def test_rows_fetched_before_come_from_memory_and_cannot_be_changed(open_store: OpenStore) -> None:
    store = open_store()
    row = chunk(1)
    await store.upsert([row])
    assert (await store.candidates("t", vector=row.vector, text="", k=1))[0].row is None
    first = (await store.fetch("t", [row.chunk_id]))[0]
    for array in (first.vector, first.sentence_vectors):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert (await store.fetch("t", [row.chunk_id]))[0] is first
    assert (await store.candidates("t", vector=row.vector, text="", k=1))[0].row is first
    store.forget("t", [row.chunk_id])
    assert_same((await store.fetch("t", [row.chunk_id]))[0], row)


async def test_the_graph_finds_most_of_the_true_neighbours_and_exact_search_all(open_store: OpenStore) -> None:
    store = open_store()
    rows = [chunk(i, sentences=0) for i in range(2_000)]
    await store.upsert(rows)
    matrix = np.stack([row.vector for row in rows])
    for query in (unit(77_777), unit(88_888)):
        best = [rows[i].chunk_id for i in np.argsort(-matrix @ query)[:20]]
        assert ids(await store.candidates("t", vector=query, text="", k=20, exact=True)) == best
        near = ids(await store.candidates("t", vector=query, text="", k=20))
        assert len(set(best) & set(near)) >= 16


# --- a server that is away, stands still, or dies


@pytest.mark.parametrize("address", [Address("localhost", "x:1"), Address("http://h:1", "h"), Address("", "")])
def test_what_is_no_address_is_refused_with_the_settings_to_change(address: Address) -> None:
    with pytest.raises(ConfigurationError, match=r"weaviate\.url"):
        WeaviateVectorStore(address, dim=DIM)


async def test_without_a_server_everything_is_unavailable_at_once() -> None:
    store = WeaviateVectorStore(Address("http://127.0.0.1:9", "127.0.0.1:10"), dim=DIM, api_key="k")
    started = time.monotonic()
    for call in (
        store.open(),
        store.upsert([chunk(1)]),
        store.existing("t", [chunk(1).chunk_id]),
        store.fetch("t", [chunk(1).chunk_id]),
        store.candidates("t", vector=unit(1), text="x", k=1),
        store.delete("t", [chunk(1).chunk_id]),
        store.count("t"),
    ):
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9.*start it"):
            await call
    assert time.monotonic() - started < 5
    await store.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_server_that_is_away_is_noticed_in_a_second_and_found_again(start_weaviate: StartWeaviate) -> None:
    server = start_weaviate()
    store = WeaviateVectorStore(
        Address(server.url, server.grpc), dim=DIM, api_key=server._keys.worker, collection="Test", cache_bytes=0
    )
    row = chunk(1)
    await store.upsert([row])
    process = server.process.find()
    assert process is not None
    process.suspend()
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await store.candidates("t", vector=row.vector, text="x", k=1)
    assert time.monotonic() - started < 4
    process.resume()
    assert ids(await store.fetch("t", [row.chunk_id])) == [row.chunk_id]
    server.kill()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await store.candidates("t", vector=row.vector, text="x", k=1)
        assert time.monotonic() - started < 4
    server.start()
    assert ids(await store.candidates("t", vector=row.vector, text="x", k=1)) == [row.chunk_id]
    await store.close()


async def _assert_found(store: WeaviateVectorStore, rows: Sequence[ChunkRow]) -> None:
    """By id, document, vector and words."""
    assert ids(await store.fetch("t", ids(rows))) == ids(rows)
    assert await store.of_document("t", "d") >= set(ids(rows))
    for row in rows:
        for exact in (False, True):
            near = await store.candidates("t", vector=row.vector, text="", k=1, exact=exact)
            assert ids(near) == [row.chunk_id]
        assert row.chunk_id in ids(await store.candidates("t", vector=-row.vector, text=row.text, k=1))


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize("n_rows", [1, 250])
async def test_what_was_acknowledged_just_before_a_kill_is_found_after_it(
    start_weaviate: StartWeaviate, n_rows: int
) -> None:
    server = start_weaviate()
    store = WeaviateVectorStore(
        Address(server.url, server.grpc), dim=DIM, api_key=server._keys.worker, collection="Test", cache_bytes=0
    )
    rows = [chunk(i, text=f"only{i}") for i in range(n_rows)]
    await store.upsert(rows)
    server.kill()
    server.start()
    await _assert_found(store, rows)
    await store.archive("t", ids(rows))
    server.kill()
    server.start()
    assert await store.count("t") == 0
    found = await store.candidates("t", vector=rows[0].vector, text="", k=n_rows, archived=True)
    assert set(ids(found)) == set(ids(rows))
    await store.delete("t", ids(rows))
    server.kill()
    server.start()
    assert await store.existing("t", ids(rows)) == set()
    assert [c async for c in store.scan("t", texts=True, archived=True)] == []
    assert await store.candidates("t", vector=rows[0].vector, text=rows[0].text, k=n_rows, archived=True) == []
    await store.close()


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_a_row_that_a_kill_took_out_of_the_vector_index_is_indexed_when_it_is_written_again(
    start_weaviate: StartWeaviate,
) -> None:
    server = start_weaviate()
    address, key = Address(server.url, server.grpc), server._keys.worker
    store = WeaviateVectorStore(address, dim=DIM, api_key=key, collection="Test", cache_bytes=0)
    rows = [chunk(i, text=f"only{i}") for i in range(20)]
    live = store._tenant("t").live
    await live._prepare()
    assert not await live._send(rows)  # one request and nothing after it, as a worker leaves it that dies there
    await store.close()
    server.kill()
    server.start()
    other = WeaviateVectorStore(address, dim=DIM, api_key=key, collection="Test", cache_bytes=0)
    assert await other.existing("t", ids(rows)) == set(ids(rows))
    assert await other.candidates("t", vector=rows[0].vector, text="", k=1) == []  # what the defence is there for
    await other.upsert(rows)
    await _assert_found(other, rows)
    assert await other.count("t") == len(rows)
    await other.close()


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_what_a_killed_server_acknowledged_is_there_and_found_and_the_rest_can_be_written_again(
    start_weaviate: StartWeaviate,
) -> None:
    server = start_weaviate()
    store = WeaviateVectorStore(
        Address(server.url, server.grpc), dim=DIM, api_key=server._keys.worker, collection="Test", cache_bytes=0
    )
    parts = [[chunk(100 * part + i, text=f"only{part}x{i}") for i in range(100)] for part in range(60)]
    acknowledged: list[list[ChunkRow]] = []

    async def write() -> None:
        for part in parts:
            await store.upsert(part)
            acknowledged.append(part)
            if len(acknowledged) == 20:
                await store.archive("t", ids(acknowledged[0]))

    writing = asyncio.create_task(write())
    await until(lambda: len(acknowledged) >= 25 or writing.done(), timeout_s=60)
    os.kill(server.process.pid, signal.SIGKILL)  # in the middle of a batch
    with pytest.raises(Unavailable):
        await writing
    assert 25 <= len(acknowledged) < len(parts)
    server.kill()
    server.start()
    kept = [row for part in acknowledged for row in part]
    for found, written in zip(await store.fetch("t", ids(kept)), kept, strict=True):
        assert_same(found, written)
    await _assert_found(store, [*kept[100::97], *acknowledged[-1]])
    for part in parts[len(acknowledged) :]:
        await store.upsert(part)
    await _assert_found(store, parts[len(acknowledged)])  # its first writing was cut short
    every = [c.chunk_id async for c in store.scan("t", archived=True)]
    assert sorted(every) == sorted(row.chunk_id for part in parts for row in part)
    await store.close()


async def test_a_call_that_takes_too_long_while_the_server_is_ready_is_a_timeout(
    open_store: OpenStore, weaviate: Weaviate
) -> None:
    await open_store().upsert([chunk(1)])
    host, port = weaviate.address.grpc.split(":")
    with TcpProxy(int(port)) as proxy:
        store = open_store(address=Address(weaviate.address.url, f"{host}:{proxy.port}"), query_timeout_s=1.5)
        assert await store.existing("t", [chunk(1).chunk_id]) == {chunk(1).chunk_id}
        proxy.black_hole()
        with pytest.raises(TimeoutError, match=r"1\.5 s although Weaviate") as raised:
            await store.existing("t", [chunk(1).chunk_id])
        assert classify(raised.value) == "unknown"
        assert not isinstance(raised.value, MillraceError)


async def test_rows_of_a_write_without_an_answer_are_written_anew_and_none_is_doubled(
    open_store: OpenStore, weaviate: Weaviate
) -> None:
    async def created(client: Any) -> dict[str, Any]:
        objects = (await live._in(client).query.fetch_objects(limit=100, return_metadata=["creation_time"])).objects
        return {str(each.uuid): each.metadata.creation_time for each in objects}

    host, port = weaviate.address.grpc.split(":")
    with TcpProxy(int(port)) as proxy:
        store = open_store(address=Address(weaviate.address.url, f"{host}:{proxy.port}"), write_timeout_s=3.0)
        live, rows = store._tenant("t").live, [chunk(i) for i in range(40)]
        await store.upsert(rows[:20])
        await store.upsert(rows[:10])
        before = await live._connection.read("times", created)
        proxy.drop_responses()
        with pytest.raises((TimeoutError, Unavailable)):
            await store.upsert(rows[10:])
        proxy.forward()
        await store.upsert(rows)
        after = await live._connection.read("times", created)
        assert await store.count("t") == len(after) == 40
        # A server leaves the indexes alone when a row comes again as it was: only a removed one is indexed anew.
        assert {row.chunk_id for row in rows[:20] if after[row.chunk_id] == before[row.chunk_id]} == set(ids(rows[:10]))


async def test_what_is_refused_is_not_logged_with_its_text(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    await store.upsert([chunk(1)])
    with pytest.raises(InputRejected):
        await store._tenant("t").live.insert([chunk(2), _row(chunk(3, text="a secret"), vector=unit(3, DIM + 1))])
    assert "secret" not in caplog.text
