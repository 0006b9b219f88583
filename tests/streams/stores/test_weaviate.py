"""The adapter on a real Weaviate: the contract of every vector store, and what only a server can do to it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest
import weaviate as client_library
from weaviate.classes.config import Configure, DataType, Property, Tokenization
from weaviate.classes.init import Auth

from millrace.errors import ConfigurationError, InputRejected, Unavailable, classify
from millrace.rows import ChunkRow
from streams.stores.weaviate import Address, collection, objects
from streams.stores.weaviate.collection import WeaviateRows
from streams.stores.weaviate.failures import meaning_of
from streams.stores.weaviate.objects import batches
from tests.faults.report import FaultRow
from tests.streams.stores.vector_store_contract import DIM, VectorStoreContract, assert_same, chunk, ids, unit
from tests.weaviate_servers import OpenWeaviate, Weaviate

OpenStore = OpenWeaviate


@pytest.fixture
def open_store(open_weaviate: OpenWeaviate) -> OpenStore:
    return partial(open_weaviate, dim=DIM)


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
    open_store: OpenStore, weaviate: Weaviate, fault_row: Callable[[FaultRow], None]
) -> None:
    """B6."""
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
    fault_row(FaultRow("B6 full disk of Weaviate", "native", note="refused while it is read-only, then taken"))


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


async def test_only_the_rows_that_failed_are_sent_again(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, fault_row: Callable[[FaultRow], None]
) -> None:
    """B2."""
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
    fault_row(FaultRow("B2 partial batch errors", "native", note="the rows that failed are sent again, and no other"))


async def test_one_part_that_fails_does_not_stop_the_others(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "BATCH_ROWS", 2)
    store = open_store()
    await store.upsert([chunk(99)])
    rows = [chunk(i) for i in range(8)]
    rows[2] = _row(rows[2], vector=unit(2, DIM + 1))
    with pytest.raises(InputRejected):
        await store._tenant("t").live.insert(rows)
    assert await store.existing("t", ids(rows)) == set(ids(rows)) - {rows[2].chunk_id}


def test_requests_are_bounded_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [chunk(i) for i in range(10)]
    monkeypatch.setattr(objects, "BATCH_ROWS", 4)
    assert [len(part) for part in batches(rows)] == [4, 4, 2]
    monkeypatch.setattr(objects, "BATCH_BYTES", 2 * max(row.nbytes for row in rows))
    assert [len(part) for part in batches(rows)] == [2] * 5
    monkeypatch.setattr(objects, "BATCH_BYTES", 1)
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
    name = store._tenant("t").live._collection

    async def quantizer(client: Any) -> Any:
        config = await client.collections.use(name).config.get()
        return config.vector_config["text"].vector_index_config.quantizer

    assert await store._connection.read("its configuration", quantizer) is None


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


async def test_what_is_refused_is_not_logged_with_its_text(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    await store.upsert([chunk(1)])
    with pytest.raises(InputRejected):
        await store._tenant("t").live.insert([chunk(2), _row(chunk(3, text="a secret"), vector=unit(3, DIM + 1))])
    assert "secret" not in caplog.text
