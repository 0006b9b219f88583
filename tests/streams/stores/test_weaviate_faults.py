"""A Weaviate that is away, stands still, is slow or is killed: nothing acknowledged is lost, and all of it is found."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

import pytest
from weaviate import WeaviateAsyncClient
from weaviate.exceptions import WeaviateQueryError

from infra.servers.weaviate import WeaviateServer
from millrace.errors import ConfigurationError, MillraceError, Unavailable, classify
from millrace.rows import ChunkRow
from streams.stores.weaviate import Address, WeaviateVectorStore
from streams.stores.weaviate.collection import WeaviateRows
from tests.conditions import eventually, until
from tests.streams.stores.vector_store_contract import DIM, assert_same, chunk, ids, unit
from tests.tcp_proxy import TcpProxy
from tests.weaviate_servers import OpenWeaviate, StartWeaviate, Weaviate


def _open(open_weaviate: OpenWeaviate, server: WeaviateServer) -> WeaviateVectorStore:
    """As a worker, without memory of rows."""
    address = Address(server.url, server.grpc)
    return open_weaviate(dim=DIM, address=address, api_key=server._keys.worker, collection="Test", cache_bytes=0)


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


async def test_many_calls_to_a_server_that_is_away_ask_for_it_once() -> None:
    with TcpProxy() as nobody:
        store = WeaviateVectorStore(Address(f"http://127.0.0.1:{nobody.port}", "127.0.0.1:10"), dim=DIM)
        with pytest.raises(Unavailable):
            await store.count("t")
        before = nobody.n_connections
        for _ in range(2):
            calls = [store.delete("t", [chunk(number).chunk_id]) for number in range(50)]
            assert {type(found) for found in await asyncio.gather(*calls, return_exceptions=True)} == {Unavailable}
        assert nobody.n_connections - before <= 4
        await store.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_server_that_is_away_is_noticed_in_a_second_and_found_again(
    start_weaviate: StartWeaviate, open_weaviate: OpenWeaviate
) -> None:
    server = start_weaviate()
    store = _open(open_weaviate, server)
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
    await eventually(store._connection._back, 2.0)
    assert ids(await store.fetch("t", [row.chunk_id])) == [row.chunk_id]
    server.kill()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await store.candidates("t", vector=row.vector, text="x", k=1)
        assert time.monotonic() - started < 4
    server.start()
    await eventually(store._connection._back, 2.0)
    assert ids(await store.candidates("t", vector=row.vector, text="x", k=1)) == [row.chunk_id]


async def _assert_found(store: WeaviateVectorStore, rows: Sequence[ChunkRow]) -> None:
    """By id, document, vector and words."""
    tenant = rows[0].tenant
    assert ids(await store.fetch(tenant, ids(rows))) == ids(rows)
    assert await store.of_document(tenant, "d") >= set(ids(rows))
    for row in rows:
        for exact in (False, True):
            near = await store.candidates(tenant, vector=row.vector, text="", k=1, exact=exact)
            assert ids(near) == [row.chunk_id]
        assert row.chunk_id in ids(await store.candidates(tenant, vector=-row.vector, text=row.text, k=1))


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize("n_rows", [1, 250])
async def test_what_was_acknowledged_just_before_a_kill_is_found_after_it(
    start_weaviate: StartWeaviate, open_weaviate: OpenWeaviate, n_rows: int
) -> None:
    server = start_weaviate()
    store = _open(open_weaviate, server)
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


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_rows_that_a_kill_took_out_of_the_vector_index_are_indexed_when_they_are_written_again(
    start_weaviate: StartWeaviate, open_weaviate: OpenWeaviate
) -> None:
    server = start_weaviate()
    store = _open(open_weaviate, server)
    tenants = {f"t{n}": [chunk(i, tenant=f"t{n}", text=f"only{i}") for i in range(40)] for n in range(8)}
    for tenant, rows in tenants.items():
        live = store._tenant(tenant).live
        await live._prepare()
        assert not await live._send(rows)  # one request and nothing after it, as a worker leaves it that dies there
    server.kill()
    server.start()
    other = _open(open_weaviate, server)
    torn = []
    for tenant, rows in tenants.items():
        assert await other.existing(tenant, ids(rows)) == set(ids(rows))
        if len(await other.candidates(tenant, vector=rows[0].vector, text="", k=40)) < len(rows):
            torn.append(tenant)
    assert torn  # what the defence is there for
    for tenant, rows in tenants.items():
        await other.upsert(rows)
        await _assert_found(other, rows)
        assert await other.count(tenant) == len(rows)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_what_a_killed_server_acknowledged_is_there_and_found_and_the_rest_can_be_written_again(
    start_weaviate: StartWeaviate, open_weaviate: OpenWeaviate
) -> None:
    server = start_weaviate()
    store = _open(open_weaviate, server)
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


async def test_a_call_that_takes_too_long_while_the_server_is_ready_is_a_timeout(
    open_weaviate: OpenWeaviate, weaviate: Weaviate
) -> None:
    await open_weaviate(dim=DIM).upsert([chunk(1)])
    host, port = weaviate.address.grpc.split(":")
    with TcpProxy(int(port)) as proxy:
        store = open_weaviate(
            dim=DIM, address=Address(weaviate.address.url, f"{host}:{proxy.port}"), query_timeout_s=1.5
        )
        assert await store.existing("t", [chunk(1).chunk_id]) == {chunk(1).chunk_id}
        proxy.black_hole()
        with pytest.raises(TimeoutError, match=r"1\.5 s although Weaviate") as raised:
            await store.existing("t", [chunk(1).chunk_id])
        assert classify(raised.value) == "unknown"
        assert not isinstance(raised.value, MillraceError)


@pytest.mark.parametrize(("n_times", "outcome"), [(2, "found"), (50, "unavailable")])
async def test_a_collection_that_is_in_the_schema_and_not_yet_there_is_asked_again(
    open_weaviate: OpenWeaviate, n_times: int, outcome: str
) -> None:
    store = open_weaviate(dim=DIM)
    await store.open()
    left = n_times

    async def search(client: WeaviateAsyncClient) -> str:
        nonlocal left
        if left:
            left -= 1
            raise WeaviateQueryError("vector search: tried to browse non-existing index for TestArchive", "GRPC search")
        return "found"

    try:
        found = await store._connection.read("neighbours", search)
    except Unavailable:  # the question is asked again later; what is there is never passed off as nothing
        found = "unavailable"
    assert found == outcome


async def test_rows_of_a_write_without_an_answer_are_written_anew_and_none_is_doubled(
    open_weaviate: OpenWeaviate, weaviate: Weaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    really = WeaviateRows._remove

    async def noted(self: WeaviateRows, chunk_ids: Sequence[str]) -> None:
        removed.extend(chunk_ids)
        await really(self, chunk_ids)

    monkeypatch.setattr(WeaviateRows, "_remove", noted)
    host, port = weaviate.address.grpc.split(":")
    with TcpProxy(int(port)) as proxy:
        address = Address(weaviate.address.url, f"{host}:{proxy.port}")
        store = open_weaviate(dim=DIM, address=address, write_timeout_s=3.0)
        rows = [chunk(i) for i in range(40)]
        await store.upsert(rows[:20])
        proxy.drop_responses()
        with pytest.raises((TimeoutError, Unavailable)):
            await store.upsert(rows[10:])
        proxy.forward()
        assert removed == []
        await store.upsert(rows)
        assert removed == ids(rows[10:])
        assert await store.count("t") == 40
        await store.upsert(rows)
        assert removed == ids(rows[10:])
