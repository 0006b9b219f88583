"""The fault proxy does what the fault tests rely on."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.tcp_proxy import HOST, TcpProxy


class _Echo:
    """A TCP server that sends back what it gets and remembers it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.heard = threading.Condition()
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    with self.heard:
                        self.received += data
                        self.heard.notify_all()
                    connection.sendall(data)
            except OSError:
                pass

    def wait_for(self, data: bytes) -> bool:
        with self.heard:
            return self.heard.wait_for(lambda: data in self.received, 10)

    def close(self) -> None:
        # Without the shutdown, the thread in accept() would keep the socket.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[_Echo]:
    server = _Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: _Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.port) as running:
        yield running


def _connect(proxy: TcpProxy, timeout_s: float = 10.0) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=timeout_s)


def test_bytes_pass_in_both_directions(proxy: TcpProxy) -> None:
    with _connect(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_dropped_responses_reach_the_target_but_not_the_client(proxy: TcpProxy, echo: _Echo) -> None:
    with _connect(proxy, 0.3) as client:
        proxy.drop_responses()
        client.sendall(b"request")
        assert echo.wait_for(b"request")
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_a_connection_that_lost_bytes_is_closed_when_traffic_flows_again(proxy: TcpProxy, echo: _Echo) -> None:
    with _connect(proxy) as client, _connect(proxy) as untouched:
        untouched.sendall(b"a")
        assert untouched.recv(1) == b"a"
        proxy.drop_responses()
        client.settimeout(0.3)
        client.sendall(b"request")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert proxy.n_dropped_bytes == len(b"request")
        client.settimeout(10)
        proxy.forward()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        untouched.sendall(b"b")
        assert untouched.recv(1) == b"b"


def test_a_black_hole_holds_bytes_until_it_ends(proxy: TcpProxy, echo: _Echo) -> None:
    with _connect(proxy, 0.3) as client:
        proxy.black_hole()
        client.sendall(b"held")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert not echo.received
        client.settimeout(10)
        proxy.forward()
        assert client.recv(4) == b"held"


def test_a_cut_ends_the_connections_that_are_open_and_lets_new_ones_in(proxy: TcpProxy) -> None:
    with _connect(proxy) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with _connect(proxy) as client:
        client.sendall(b"y")
        assert client.recv(1) == b"y"


def test_delayed_bytes_keep_their_order(proxy: TcpProxy) -> None:
    proxy.delay(0.02)
    with _connect(proxy) as client:
        for letter in b"abc":
            client.sendall(bytes([letter]))
        received = b""
        while len(received) < 3:
            received += client.recv(3)
        assert received == b"abc"


def test_a_refusing_proxy_closes_new_connections(proxy: TcpProxy) -> None:
    proxy.refuse()
    with _connect(proxy) as client:
        assert client.recv(1) == b""
    proxy.refuse(refusing=False)
    with _connect(proxy) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
