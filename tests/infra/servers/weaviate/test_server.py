"""The server keeps what it acknowledged, lets no one in without a key, and no one do more than its role allows."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import weaviate as client_library
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.init import Auth
from weaviate.classes.rbac import Permissions
from weaviate.exceptions import WeaviateBaseError

from infra.servers.weaviate import Keys, WeaviateServer
from infra.settings import process_environment
from millrace.errors import ConfigurationError, Unavailable
from streams.stores.collection_names import collection_names
from streams.stores.weaviate import Address, WeaviateVectorStore
from tests.faults.report import FaultRow
from tests.streams.stores.vector_store_contract import DIM, chunk, ids
from tests.weaviate_servers import StartWeaviate, Weaviate


def _client(server: Weaviate, key: str | None) -> Any:
    rest, grpc = urlsplit(server.address.url), urlsplit(f"//{server.address.grpc}")
    return client_library.connect_to_custom(
        http_host=rest.hostname or "",
        http_port=rest.port or 0,
        http_secure=False,
        grpc_host=grpc.hostname or "",
        grpc_port=grpc.port or 0,
        grpc_secure=False,
        auth_credentials=Auth.api_key(key) if key else None,
        skip_init_checks=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_restart_and_a_kill_keep_ports_users_and_rows(start_weaviate: StartWeaviate) -> None:
    server = start_weaviate()
    keys: Keys = server._keys
    url, grpc = server.url, server.grpc
    store = WeaviateVectorStore(Address(url, grpc), dim=DIM, api_key=keys.worker, collection="Test", cache_bytes=0)
    rows = [chunk(i) for i in range(6)]
    await store.upsert(rows[:2])
    server.stop()
    server.start()
    await store.upsert(rows[2:4])
    server.kill()
    with pytest.raises(Unavailable, match="does not run"):
        _ = server.process
    with pytest.raises(Unavailable, match="no Weaviate at"):
        await store.upsert(rows[4:])
    server.start()
    await store.upsert(rows[4:])
    assert (server.url, server.grpc) == (url, grpc)
    assert ids(await store.fetch("t", ids(rows))) == ids(rows)
    assert (await store.candidates("t", vector=rows[0].vector, text="", k=1))[0].chunk_id == rows[0].chunk_id
    await store.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_another_start_on_other_ports_serves_the_same_data(start_weaviate: StartWeaviate) -> None:
    first = start_weaviate()
    address, key = Address(first.url, first.grpc), first._keys.worker
    store = WeaviateVectorStore(address, dim=DIM, api_key=key, collection="Test")
    await store.upsert([chunk(1)])
    await store.close()
    first.stop()
    second = start_weaviate()
    store = WeaviateVectorStore(Address(second.url, second.grpc), dim=DIM, api_key=key, collection="Test")
    assert await store.existing("t", [chunk(1).chunk_id]) == {chunk(1).chunk_id}
    await store.upsert([chunk(2, tenant="new")])  # the node leads its cluster of one again
    assert second.url != first.url
    await store.close()


def test_a_pinned_port_that_is_taken_is_named_with_the_remedy(start_weaviate: StartWeaviate) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(Unavailable, match=r"in use.*set `weaviate\.port`"),
    ):
        start_weaviate(port=taken.getsockname()[1], timeout_s=30.0)


def test_a_server_that_is_not_ready_in_time_is_ended(start_weaviate: StartWeaviate, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"within 0\.1 s"):
        start_weaviate(timeout_s=0.1)
    running = [process.info["environ"] or {} for process in psutil.process_iter(["environ"])]
    assert not [each for each in running if str(tmp_path) in each.get("PERSISTENCE_DATA_PATH", "")]


def test_rest_gossip_and_raft_listen_on_loopback_alone(start_weaviate: StartWeaviate) -> None:
    server = start_weaviate()
    listening = {
        each.laddr.port: each.laddr.ip
        for each in psutil.Process(server.process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }
    assert set(listening) <= set(server.ports.values())
    by_name = {name: listening.get(port) for name, port in server.ports.items()}
    assert {name for name, ip in by_name.items() if ip == "127.0.0.1"} >= {"rest", "gossip", "raft"}
    # These two have no setting for the interface: they ask for a key and a password instead (below).
    assert {name for name, ip in by_name.items() if ip not in {None, "127.0.0.1"}} <= {"grpc", "data"}
    data = f"http://127.0.0.1:{server.ports['data']}"
    assert httpx.get(f"{data}/indices/TestLive/shards/t/objects/_search").status_code == 401


# --- keys and roles


PATHS = ("schema", "objects", "meta", "nodes", "authz/roles")


@pytest.mark.parametrize("key", [None, "", "guess"])
def test_without_a_key_nothing_is_answered(
    weaviate: Weaviate, key: str | None, fault_row: Callable[[FaultRow], None]
) -> None:
    """E11."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for path in PATHS:
        assert httpx.get(f"{weaviate.address.url}/v1/{path}", headers=headers).status_code == 401
    fault_row(FaultRow(f"E11 Weaviate, key {key!r}", "native", note="refused"))


def test_a_server_that_lets_anybody_in_answers_without_a_key(weaviate_program: Path, tmp_path: Path) -> None:
    """Control of E11."""

    class Open(WeaviateServer):
        def start(self) -> Self:
            return super(WeaviateServer, self).start()

        def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:
            anybody = {"AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true", "AUTHORIZATION_RBAC_ENABLED": "false"}
            return {**super()._variables(ports), **anybody, "AUTHENTICATION_APIKEY_ENABLED": "false"}

    options: dict[str, Any] = {"environment": process_environment(), "keys": Keys.random(), "collections": ["Test*"]}
    with Open(tmp_path, program=weaviate_program, **options) as server:
        for path in PATHS[:4]:
            assert httpx.get(f"{server.url}/v1/{path}").status_code == 200


@pytest.mark.parametrize("key", ["", "guess"])
async def test_a_store_without_a_key_is_told_so_at_its_start(weaviate: Weaviate, key: str) -> None:
    store = WeaviateVectorStore(weaviate.address, dim=DIM, api_key=key, collection=weaviate.collection)
    with pytest.raises(ConfigurationError, match=r"weaviate\.api_key"):
        await store.open()
    await store.close()


async def test_a_reader_finds_what_a_worker_wrote_and_can_write_nothing(
    weaviate: Weaviate, fault_row: Callable[[FaultRow], None]
) -> None:
    """E11; that the worker's key may write is its control."""
    worker, reader = (
        WeaviateVectorStore(weaviate.address, dim=DIM, api_key=key, collection=weaviate.collection)
        for key in (weaviate.keys.worker, weaviate.keys.reader)
    )
    row, other = chunk(1), chunk(2)
    assert await reader.count("t") == 0  # nothing was written yet
    await worker.upsert([row])
    await reader.open()
    assert ids(await reader.fetch("t", [row.chunk_id])) == [row.chunk_id]
    assert ids(await reader.candidates("t", vector=row.vector, text=row.text, k=3, archived=True)) == [row.chunk_id]
    assert [c.chunk_id async for c in reader.scan("t", texts=True)] == [row.chunk_id]
    for denied in (
        reader.upsert([other]),
        reader.delete("t", [row.chunk_id]),
        reader.archive("t", [row.chunk_id]),
        reader.delete_tenant("t"),
        reader.upsert([chunk(3, tenant="new")]),
    ):
        with pytest.raises(Unavailable, match="refuses"):
            await denied
    assert await worker.existing("t", ids([row, other])) == {row.chunk_id}
    assert (await worker.count("t"), await worker.count("t", archived=True)) == (1, 0)
    fault_row(FaultRow("E11 Weaviate, a reading role writes", "native", note="refused"))
    for store in (worker, reader):
        await store.close()


async def test_a_worker_touches_no_collection_but_its_own_and_no_role(weaviate: Weaviate) -> None:
    foreign = f"Foreign{weaviate.collection}"
    with _client(weaviate, weaviate.keys.admin) as admin:
        admin.collections.create(foreign, properties=[Property(name="text", data_type=DataType.TEXT)],
                                 vector_config=Configure.Vectors.self_provided())  # fmt: skip
        try:
            with _client(weaviate, weaviate.keys.worker) as worker:
                denials: list[Callable[[], object]] = [
                    lambda: worker.collections.use(foreign).query.fetch_objects(limit=1),
                    lambda: worker.collections.use(foreign).data.insert({"text": "no"}),
                    lambda: worker.collections.delete(foreign),
                    lambda: worker.collections.create("Elsewhere"),
                    lambda: worker.roles.create(role_name="more", permissions=[]),
                    lambda: worker.users.db.assign_roles(user_id="millrace-worker", role_names="admin"),
                ]
                for denied in denials:
                    with pytest.raises(WeaviateBaseError, match=r"(?i)forbidden|permission"):
                        denied()
        finally:
            admin.collections.delete(foreign)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_another_start_takes_away_what_is_more_than_two_collections_need(start_weaviate: StartWeaviate) -> None:
    server = start_weaviate(collections=["Test*"])
    keys: Keys = server._keys
    one, neighbour = (
        WeaviateVectorStore(Address(server.url, server.grpc), dim=DIM, api_key=keys.worker, collection=name)
        for name in ("Test", "TestNeighbour")
    )
    for store in (one, neighbour):
        await store.upsert([chunk(1)])
    with _client(Weaviate(Address(server.url, server.grpc), keys), keys.admin) as admin:
        more = Permissions.data(collection="*", delete=True)
        admin.roles.add_permissions(role_name="millrace-reader", permissions=more)
        admin.roles.create(role_name="more", permissions=more)
        admin.users.db.assign_roles(user_id="millrace-reader", role_names="more")
    server.stop()
    server = start_weaviate(
        collections=collection_names("Test"), port=server.ports["rest"], grpc_port=server.ports["grpc"]
    )
    await one.upsert([chunk(2)])
    assert await one.existing("t", ids([chunk(1), chunk(2)])) == set(ids([chunk(1), chunk(2)]))
    for denied in (neighbour.existing("t", ids([chunk(1)])), neighbour.upsert([chunk(2)])):
        with pytest.raises(Unavailable, match="refuses"):
            await denied
    with _client(Weaviate(Address(server.url, server.grpc), keys), keys.admin) as admin:
        assert set(admin.users.db.get_assigned_roles(user_id="millrace-reader")) == {"millrace-reader"}
        role = admin.roles.get(role_name="millrace-reader")
        assert {each.collection for each in role.permissions} == set(collection_names("Test"))
        assert {action.value.split("_")[0] for each in role.permissions for action in each.actions} == {"read"}
    for store in (one, neighbour):
        await store.close()


def test_keys_are_kept_private_and_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = Keys.kept_in(path)
    assert Keys.kept_in(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(key in repr(keys) for key in (keys.admin, keys.worker, keys.reader, keys.cluster))
    assert len({keys.admin, keys.worker, keys.reader, keys.cluster}) == 4
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="remove it"):
        Keys.kept_in(path)


def test_the_keys_stand_in_no_argument_of_the_process(start_weaviate: StartWeaviate) -> None:
    server: WeaviateServer = start_weaviate()
    arguments = " ".join(psutil.Process(server.process.pid).cmdline())
    assert not any(key in arguments for key in server._keys.by_user().values())
