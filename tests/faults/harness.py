"""Real worker processes on a real broker, and the signals that disturb them.

A `FaultStack` is a broker with its topics and one home folder; workers are started on it as subprocesses of the test
and are ended by it, whatever happens. Tests on one stack keep apart by tenant names.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lancedb

from infra.launch.broker import embedded_broker
from infra.launch.ports import free_ports
from infra.launch.processes import tail
from infra.launch.stack import Stack, write_stack
from infra.launch.up import down, up
from infra.servers.kafka import KafkaServer
from infra.settings import Loaded, load, process_environment
from millrace.codec import Codec
from millrace.events.corpus import MaintenanceDue
from millrace.topics import (
    ACL_CHANGED,
    CHUNKS_EMBEDDED,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    MAINTENANCE_DUE,
    SOURCE_CHANGED,
)
from streams.admin import TopicPlan, create_topics
from streams.visibility import VisibilityTable
from tests.faults.log_access import Feeder, Raw, commit, ends, lag, root, scan, until
from tests.faults.oracle import SCANNED, Entity, Findings, Oracle, Row, Shown
from tests.faults.worker import Worker
from tests.faults.workload import scaled
from tests.tcp_proxy import TcpProxy

DRAINED_S = float(scaled(3600, 240))
_SETTINGS = {
    "models__embedder": "hashing",
    "worker__commit_interval_ms": "200",
    "worker__session_timeout_ms": "2000",
    "worker__heartbeat_interval_ms": "500",
    "worker__retry_initial_ms": "50",
    "worker__retry_max_ms": "500",
}
CORPUS_GROUPS: Mapping[str, Sequence[str]] = {
    "millrace.featurize": (SOURCE_CHANGED.name,),
    "millrace.index": (CHUNKS_EMBEDDED.name, DOCUMENT_INDEXED.name, MAINTENANCE_DUE.name),
}


@dataclass(frozen=True)
class Proxied:
    """A second way to the broker, through a proxy."""

    proxy: TcpProxy
    home: Path


class FaultStack:
    """A broker with its topics, and the workers that a test starts on it.

    Attributes
    ----------
    kind : {"embedded", "kafka", "native"}
        Profile.
    bootstrap : str
        Where the broker listens.
    codec : Codec
        Reads and writes what its workers do.
    node : KafkaServer or None
        The broker, where it is one that may be killed and started again.
    """

    def __init__(
        self,
        kind: Literal["embedded", "kafka", "native"],
        home: Path,
        loaded: Loaded,
        stack: Stack,
        node: KafkaServer | None = None,
    ) -> None:
        self.kind = kind
        self.codec = Codec()
        self.node = node
        self.home = home
        self._loaded = loaded
        self._stack = stack
        self.bootstrap = stack.bootstrap
        self.proxied: Proxied | None = None
        self._workers: list[Worker] = []
        self._n_started = 0

    def oracle(self, tenants: Collection[str]) -> Oracle:
        """An oracle that reads what is written here."""
        return Oracle(tenants, self.codec)

    def feeder(self) -> Feeder:
        """Write changes as a client of this stack does."""
        return Feeder(self.bootstrap, self.codec)

    @property
    def objects(self) -> Path:
        """Folder of the object store."""
        return Path(self._stack.objects)

    def create_topics(self, names: Sequence[str], partitions: int = 4, max_bytes: int = 1_048_576) -> None:
        """Create topics that are in no catalogue, each with its dead letter topic, unless they exist."""
        every = [each for name in names for each in (name, f"{name}.dlq")]
        if self.kind == "embedded":
            for name in every:
                embedded_broker(self._stack).create_topic(name, partitions)
        else:
            from confluent_kafka.admin import AdminClient  # noqa: PLC0415

            config = {"max.message.bytes": str(max_bytes)}
            create_topics(
                AdminClient({"bootstrap.servers": self.bootstrap}), [TopicPlan(n, partitions, config) for n in every]
            )

    def start(
        self,
        name: str = "",
        *,
        agents: Sequence[str] = (),
        without: str = "",
        home: Path | None = None,
        wait: bool = True,
        **settings: str,
    ) -> Worker:
        """Start a worker.

        Parameters
        ----------
        name : str
            Give the name of an ended worker to go on with its state; by default a new one.
        agents : sequence of str
            Modules whose agents to run instead of the project's own.
        without : str
            Name of a defence that is taken out, see `tests.faults.without`.
        home : Path
            Another home folder, see `Proxied`.
        **settings : str
            Settings, as `process_environment` takes them.
        """
        self._n_started += 1
        name = name or f"worker-{self._n_started}"
        program = ("tests.faults.without", without, "worker") if without else ("infra", "worker")
        command = [sys.executable, "-m", *program, *(part for each in agents for part in ("--agents", each))]
        where = str(home or self.home)
        named = {
            **self._loaded.flags_as_variables(),
            **_SETTINGS,
            **settings,
            "home": where,
            "objects": str(self.objects),
        }
        named.setdefault("stores__vectors", str(self.home / "vectors"))
        worker = Worker(Path(where), name, command, process_environment(**named))
        self._workers.append(worker)
        if wait:
            worker.wait_ready()
        return worker

    def end_workers(self) -> None:
        """End all workers that still run."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def drained(self, groups: Mapping[str, Sequence[str]] = CORPUS_GROUPS, timeout_s: float = DRAINED_S) -> float:
        """Wait until no group is behind, twice in a row, since one group feeds the next; returns the seconds.

        Raises
        ------
        AssertionError
            If that does not come true in time.
        """
        behind: dict[tuple[str, str, int], int] = {}
        quiet: list[dict[tuple[str, int], int]] = []
        topics = sorted({topic for names in groups.values() for topic in names})

        def nothing_left() -> bool:
            behind.clear()
            behind.update(lag(self.bootstrap, groups))
            if behind:
                quiet.clear()
                return False
            quiet.append(ends(self.bootstrap, topics))
            return len(quiet) > 1 and quiet[-1] == quiet[-2]

        return until(nothing_left, timeout_s, lambda: f"{behind}; {self.logs()}")

    def logs(self) -> str:
        """Ends of the running workers' logs."""
        return "\n".join(tail(worker.log, 12) for worker in self._workers if worker.running)

    def records(self, topics: Sequence[str] = SCANNED) -> list[Raw]:
        """Full scan of topics."""
        return scan(self.bootstrap, topics)

    def another_index(self, tag: str) -> tuple[str, dict[str, Any]]:
        """Name of an empty index, and the settings with which a worker fills it."""
        return f"v-{tag}", {"stores__vectors": str(self.home / f"v-{tag}")}

    def rows(self, tenants: Sequence[str] | frozenset[str], folder: str = "vectors") -> list[Row]:
        """Full scan of an index, read without the store: of the vector tables on disk."""
        database = lancedb.connect(self.home / folder)
        found = []
        for name in sorted(path.stem for path in (self.home / folder).glob("*.lance")):
            table = database.open_table(name).to_arrow().select(["chunk_id", "document", "text"]).to_pylist()
            tenant = next((each for each in tenants if name.startswith(each.replace("-", "_"))), None)
            if tenant is not None:
                archived = name.endswith("-archive")
                found += [Row(tenant, row["document"], row["chunk_id"], row["text"], archived) for row in table]
        return found

    def shown(self, worker: str, tmp: Path, tenants: frozenset[str], folder: str = "state") -> dict[Entity, Shown]:
        """What a worker's visibility table says, read from a copy of its file."""
        copy = tmp / f"{worker}-{time.monotonic_ns()}.sqlite"
        with (
            sqlite3.connect(f"file:{self.home}/{folder}/{worker}.visibility.db?mode=ro", uri=True) as live,
            sqlite3.connect(copy) as target,
        ):
            live.backup(target)
        live.close()
        target.close()
        return self._read_table(copy, tenants, [])

    def rebuilt(self, tmp: Path, tenants: frozenset[str]) -> dict[Entity, Shown]:
        """What a table says that is folded from offset 0 now."""
        records = self.records((DOCUMENT_INDEXED.name, ACL_CHANGED.name, DOCUMENT_SETTLED.name))
        return self._read_table(tmp / f"rebuilt-{time.monotonic_ns()}.sqlite", tenants, records)

    def _read_table(self, path: Path, tenants: frozenset[str], records: Sequence[Raw]) -> dict[Entity, Shown]:
        table = VisibilityTable.open(path, self.codec, self._stack.log_epoch)
        try:
            table.fold([_Folded(raw) for raw in records])
            with sqlite3.connect(path) as database:
                names = database.execute("SELECT tenant, name FROM documents").fetchall()
            database.close()
            found = {}
            for tenant, document in names:
                if tenant in tenants and (version := table.current(tenant, document)) is not None:
                    chunks = tuple(ref.id for ref in version.chunks)
                    groups = table.groups(tenant, document) or frozenset()
                    open_to = frozenset() if version.deleted else groups
                    found[tenant, document] = Shown(version.order, version.deleted, chunks, open_to)
            return found
        finally:
            table.close()

    def collect_garbage(self, oracle: Oracle) -> None:
        """Let the index agent remove the rows of each document that no version lists."""
        feeder = self.feeder()
        for number, (tenant, document) in enumerate(sorted(oracle.documents())):
            due = MaintenanceDue(tenant=tenant, document=document, at_us=1)
            feeder.send(root(due, MAINTENANCE_DUE, f"{tenant}-{number}-{time.monotonic_ns()}", self.codec))
        feeder.flush()
        self.drained()

    def rewind(self, groups: Mapping[str, Sequence[str]], to: Mapping[tuple[str, int], int]) -> None:
        """Put consumer groups, which must have no members, back to earlier offsets."""
        for group, topics in groups.items():
            commit(self.bootstrap, group, {place: offset for place, offset in to.items() if place[0] in topics})

    def judge(
        self, oracle: Oracle, tmp: Path, worker: str = "", *, collected: bool = False, drain: bool = True
    ) -> Findings:
        """Let the oracle compare everything, once no group is behind; with the table of `worker` where one is named."""
        if drain:
            self.drained()
        tables: dict[str, Any] = {}
        if worker:
            rebuilt = self.rebuilt(tmp, oracle.tenants)
            if drain:
                until(lambda: self.shown(worker, tmp, oracle.tenants) == rebuilt, 15, lambda: "table behind the log")
            tables = {"shown": self.shown(worker, tmp, oracle.tenants), "rebuilt": rebuilt}
        return oracle.check(self.records(), self.rows(oracle.tenants), collected=collected, **tables)

    def add_proxied(self, proxy: TcpProxy, bootstrap: str) -> None:
        """Offer a second address of the broker, which leads through a proxy, by a home folder of its own."""
        home = self.home.with_name(f"{self.home.name}-proxied")
        home.mkdir(mode=0o700)
        write_stack(replace(self._stack, bootstrap=bootstrap, home=str(home)))
        self.proxied = Proxied(proxy, home)


class _Folded:
    """A record in the shape that the table folds."""

    def __init__(self, raw: Raw) -> None:
        self.topic, self.partition, self.offset = raw.place
        self.key, self.value, self.headers = raw.key, raw.value, list(raw.headers)


@contextlib.contextmanager
def embedded_stack(folder: Path, **settings: Any) -> Iterator[FaultStack]:
    """A stack on the embedded broker."""
    loaded = load({"home": str(folder), "profile": "embedded", "worker": {"count": 0}, **settings})
    stack = FaultStack("embedded", folder, loaded, up(loaded).stack)
    try:
        yield stack
    finally:
        stack.end_workers()
        down(loaded.settings)


@contextlib.contextmanager
def kafka_node(folder: Path, *, jars: Path, java: str) -> Iterator[tuple[KafkaServer, TcpProxy]]:
    """A Kafka node of one's own, with a second listener behind a proxy."""
    port, controller, through = free_ports(3)
    with TcpProxy(through) as proxy:
        listeners = {
            "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},PROXIED://127.0.0.1:{through}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy.port}",
            "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "group.min.session.timeout.ms": "1000",
        }
        environment = process_environment()
        server = KafkaServer(
            folder / "kafka", jars=jars, java=java, port=port, properties=listeners, environment=environment
        )
        with server:
            yield server, proxy


@contextlib.contextmanager
def kafka_stack(folder: Path, *, jars: Path, java: str, **settings: Any) -> Iterator[FaultStack]:
    """A stack on a Kafka node of its own."""
    with kafka_node(folder, jars=jars, java=java) as (node, proxy):
        home = folder / "home"
        bootstrap = {"bootstrap": node.bootstrap}
        loaded = load({"home": str(home), "profile": "kafka", "worker": {"count": 0}, **bootstrap, **settings})
        stack = FaultStack("kafka", home, loaded, up(loaded).stack, node)
        stack.add_proxied(proxy, f"127.0.0.1:{proxy.port}")
        try:
            yield stack
        finally:
            stack.end_workers()
            down(loaded.settings)
