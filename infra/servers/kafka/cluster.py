"""Three Kafka nodes on one machine: every record on all of them, acknowledged when two have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from infra.launch.ports import free_ports
from infra.launch.processes import ProcessRecord, end_all
from infra.servers.kafka.server import KafkaServer, new_cluster_id

_N_NODES: Final = 3
_GRACE_S: Final = 30.0
# A node that hands its partitions over before it ends asks the quorum first. When all end at once, two of three
# controllers may be gone by then, and the last node waits for them for minutes. So none asks; others notice the end of
# a single one when its session ends, as after a kill.
_AT_ONCE: Final = {"controlled.shutdown.enable": "false"}


class ClusterNode(KafkaServer):
    """One of several nodes that are broker and controller at once.

    Parameters
    ----------
    folder : Path
        The node's own.
    node_id : int
        Its number in the cluster, from 1.
    quorum : mapping of int to int
        Controller port of every node, by number.
    options
        As of `KafkaServer`.
    """

    inner_ports: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path, *, node_id: int, quorum: Mapping[int, int], **options: Any) -> None:
        super().__init__(folder, **{**options, "properties": _AT_ONCE | dict(options.get("properties") or {})})
        self.node_id = node_id
        self.ports["controller"] = quorum[node_id]
        self._controllers = quorum
        self.new_cluster_id = ""

    def _quorum(self, controller_port: int) -> Mapping[int, int]:  # noqa: ARG002 - fixed for the cluster's life
        return self._controllers

    def _format(self, cluster_id: str) -> None:  # noqa: ARG002 - all nodes share one
        super()._format(self.new_cluster_id)


class KafkaCluster:
    """Three nodes, of which any one may be killed; they keep their data in folders below one.

    Parameters
    ----------
    folder : Path
        Holds a folder for each node; created if missing.
    on_spawn : callable, optional
        Told of each process as soon as it exists.
    options
        As of `KafkaServer`; `port` would name one node, so there is none.
    """

    def __init__(
        self, folder: Path, *, on_spawn: Callable[[ProcessRecord], None] = lambda _: None, **options: Any
    ) -> None:
        quorum = dict(enumerate(free_ports(_N_NODES), start=1))
        self.nodes: tuple[ClusterNode, ...] = tuple(
            ClusterNode(
                folder / f"node-{number}",
                node_id=number,
                quorum=quorum,
                on_spawn=lambda record, number=number: on_spawn(_named(record, number)),
                **options,
            )
            for number in quorum
        )

    @property
    def bootstrap(self) -> str:
        """Where clients connect: all nodes, with commas."""
        return ",".join(node.bootstrap for node in self.nodes)

    @property
    def cluster_id(self) -> str | None:
        """The id its storage was formatted with; None before the first start."""
        return next((node.cluster_id for node in self.nodes if node.cluster_id), None)

    @property
    def processes(self) -> tuple[ProcessRecord, ...]:
        """The running processes: ``broker``, ``broker-2``, ``broker-3``.

        Raises
        ------
        Unavailable
            A node does not run.
        """
        return tuple(_named(node.process, node.node_id) for node in self.nodes)

    def start(self) -> Self:
        """Start the nodes that do not run, all at once as they need each other, and wait until they serve.

        Raises
        ------
        Unavailable
            One was not ready in time; then none is left running.
        """
        cluster_id = self.cluster_id or new_cluster_id()
        try:
            for node in self.nodes:
                node.new_cluster_id = cluster_id
            with ThreadPoolExecutor(_N_NODES) as pool:
                for started in [pool.submit(node.start) for node in self.nodes if not node.running]:
                    started.result()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End all in order, at the same time."""
        end_all([node.process for node in self.nodes if node.running], _GRACE_S)
        self.kill()

    def kill(self) -> None:
        """End all with SIGKILL."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _named(record: ProcessRecord, number: int) -> ProcessRecord:
    return record if number == 1 else replace(record, name=f"{record.name}-{number}")
