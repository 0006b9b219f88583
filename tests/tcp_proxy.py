"""A TCP proxy on loopback for faults at byte level: forward, delay, black-hole, drop responses, cut.

It runs in a thread with an event loop of its own, so a test may block or run in another loop. For Kafka the advertised
listener must point at the proxy (`KafkaServer(advertised_port=proxy.port)`, `EmbeddedBroker.advertise(proxy.port)`),
or clients leave it after the first answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

HOST = "127.0.0.1"
T = TypeVar("T")
Mode = Literal["forward", "drop_responses", "black_hole"]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset instead of an orderly end."""
    if not writer.transport.is_closing():
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class TcpProxy:
    """Listens on a free port once constructed; forwards to `target_port` until told otherwise.

    Parameters
    ----------
    target_port : int, optional
        Where bytes go; may be set later. Connections that come before are closed.
    """

    def __init__(self, target_port: int | None = None) -> None:
        self.target_port = target_port
        self.n_connections = 0
        self.n_dropped_bytes = 0
        self._mode: Mode = "forward"
        self._delay_s = 0.0
        self._refusing = False
        self._open: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._torn: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._call(asyncio.start_server(self._accept, HOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def forward(self) -> None:
        """Pass everything on. A connection that lost bytes is closed: going on in mid-stream would be another fault."""
        self._set("forward")

    def drop_responses(self) -> None:
        """Requests reach the target; whatever it answers is thrown away."""
        self._set("drop_responses")

    def black_hole(self) -> None:
        """Nothing moves in either direction, and nobody is told; what is under way moves on after `forward`."""
        self._set("black_hole")

    def delay(self, delay_s: float) -> None:
        """Hold each piece of data for `delay_s` seconds; order is kept."""
        self._delay_s = delay_s

    def cut(self) -> None:
        """Close all connections at once, in the middle of whatever they carry."""
        self._call(self._cut(list(self._open)))

    def refuse(self, *, refusing: bool = True) -> None:
        """Close new connections as soon as they come, or accept them again."""
        self._refusing = refusing

    def close(self) -> None:
        """End the proxy with all its connections."""
        if self._loop.is_closed():
            return
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _set(self, mode: Mode) -> None:
        async def change() -> None:
            self._mode = mode
            self._changed.set()
            self._changed.clear()
            if mode == "forward":
                await self._cut(list(self._torn))

        self._call(change())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        try:
            if self._refusing or self.target_port is None:
                raise ConnectionRefusedError
            target_reader, target_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.close()
            return
        self._open[writer] = target_writer
        self._open[target_writer] = writer
        for source, sink, is_response in ((reader, target_writer, False), (target_reader, writer, True)):
            task = self._loop.create_task(self._pipe(source, sink, is_response=is_response))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_response: bool) -> None:
        try:
            while data := await source.read(65_536):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                while self._mode == "black_hole":
                    await self._changed.wait()
                if self._mode == "drop_responses" and is_response:
                    self.n_dropped_bytes += len(data)
                    self._torn.add(sink)
                    continue
                sink.write(data)
                await sink.drain()
            sink.close()
        except OSError:
            await self._cut([sink])

    async def _cut(self, writers: list[asyncio.StreamWriter]) -> None:
        for writer in writers:
            for end in (writer, self._open.pop(writer, None)):
                if end is not None:
                    self._open.pop(end, None)
                    self._torn.discard(end)
                    _reset(end)

    async def _shut(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cut(list(self._open))
