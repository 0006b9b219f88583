"""The broker's process: the cluster, its ready file, and a control port for what the protocol has no words for.

The control port takes one JSON object a line and answers with one: ``{"create_topic": name, "partitions": n}`` gives
``{"created": bool}``; ``{"advertise": port}`` gives ``{"advertised": port}``; anything else gives ``{"error": why}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millrace.errors import MillraceError
from streams.embedded_broker.cluster import MockCluster

_LOOPBACK = "127.0.0.1"


async def serve(ready_file: Path, parent_pid: int | None = None) -> None:
    """Run the broker until SIGTERM or SIGINT, or until the process `parent_pid` is gone.

    Parameters
    ----------
    ready_file : Path
        Receives ``{"bootstrap", "control", "pid", "log_epoch"}`` in one step once the broker listens; its folder must
        exist. Removed at the end.
    parent_pid : int, optional
        The broker ends with this process, so that a killed test run leaves nothing behind.

    Raises
    ------
    Unavailable
        The cluster could not be started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_pid is not None and not _watch(parent_pid, stop):
        return
    with MockCluster() as cluster:
        control = await asyncio.start_server(_Control(cluster).serve, _LOOPBACK, 0)
        port: int = control.sockets[0].getsockname()[1]
        with _ready(ready_file, {"bootstrap": cluster.bootstrap, "control": f"{_LOOPBACK}:{port}"}):
            await stop.wait()
        control.close()


def _watch(pid: int, stop: asyncio.Event) -> bool:
    """Set `stop` when process `pid` ends; False when it is gone already."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    asyncio.get_running_loop().add_reader(descriptor, stop.set)
    return True


@contextlib.contextmanager
def _ready(ready_file: Path, addresses: dict[str, str]) -> Iterator[None]:
    content = {**addresses, "pid": os.getpid(), "log_epoch": secrets.token_hex(8)}
    partial = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
    partial.write_text(json.dumps(content))
    partial.replace(ready_file)
    try:
        yield
    finally:
        ready_file.unlink(missing_ok=True)


class _Control:
    """Answers requests on the control port."""

    def __init__(self, cluster: MockCluster) -> None:
        self._cluster = cluster

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            match json.loads(line):
                case {"create_topic": str(name), "partitions": int(partitions)}:
                    return {"created": self._cluster.create_topic(name, partitions)}
                case {"advertise": int(port)}:
                    self._cluster.advertise(_LOOPBACK, port)
                    return {"advertised": port}
                case request:
                    return {"error": f"unknown control request {request!r}; allowed: create_topic, advertise"}
        except (MillraceError, ValueError) as error:
            return {"error": str(error)}
