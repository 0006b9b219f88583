"""The mock cluster inside librdkafka, by ctypes.

confluent-kafka bundles librdkafka and links it to its extension module, so a lookup through the extension's handle
finds the cluster's functions in exactly the library that the Python client uses.
"""

from __future__ import annotations

import ctypes
import re
from types import TracebackType
from typing import Final, Self

import confluent_kafka.cimpl

from millrace.errors import ConfigurationError, Unavailable

_PRODUCER: Final = 0
_NO_ERROR: Final = 0
_TOPIC_ALREADY_EXISTS: Final = 36
_ONLY_BROKER: Final = 1
_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _load() -> ctypes.CDLL:
    """Load librdkafka's mock functions with their signatures.

    Raises
    ------
    Unavailable
        The installed librdkafka does not export them.
    """
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    handle, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    signatures: dict[str, tuple[object, list[object]]] = {
        "rd_kafka_conf_new": (handle, []),
        "rd_kafka_conf_set": (number, [handle, text, text, text, size]),
        "rd_kafka_new": (handle, [number, handle, text, size]),
        "rd_kafka_destroy": (None, [handle]),
        "rd_kafka_mock_cluster_new": (handle, [handle, number]),
        "rd_kafka_mock_cluster_destroy": (None, [handle]),
        "rd_kafka_mock_cluster_bootstraps": (text, [handle]),
        "rd_kafka_mock_topic_create": (number, [handle, text, number, number]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [handle, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_host_port": (number, [handle, ctypes.c_int32, text, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name, None)
        if function is None:
            raise Unavailable(
                f"embedded broker: confluent-kafka {confluent_kafka.__version__} carries a librdkafka without "
                f"{name!r}; install confluent-kafka 2.16.0, or use --profile kafka"
            )
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """One broker in this process, speaking the Kafka protocol over real TCP on loopback.

    Parameters
    ----------
    rebalance_delay_ms : int
        How long a new consumer group waits for further members before its first assignment, in milliseconds.

    Raises
    ------
    Unavailable
        librdkafka could not start the cluster.
    """

    def __init__(self, rebalance_delay_ms: int = 100) -> None:
        self._library = _load()
        error = ctypes.create_string_buffer(512)
        config = self._library.rd_kafka_conf_new()
        # Its own client never connects anywhere: only warnings about that would be logged.
        self._library.rd_kafka_conf_set(config, b"log_level", b"3", error, len(error))
        self._client = self._library.rd_kafka_new(_PRODUCER, config, error, len(error))
        self._cluster = self._client and self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise Unavailable(
                f"embedded broker: librdkafka could not start its cluster ({error.value.decode() or 'no reason'});"
                " check that loopback sockets may be opened (ulimit -n), or use --profile kafka"
            )
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, rebalance_delay_ms)

    @property
    def bootstrap(self) -> str:
        """Where the broker listens, as ``host:port``."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def create_topic(self, name: str, partitions: int) -> bool:
        """Create a topic with an exact number of partitions.

        Returns
        -------
        bool
            False when the topic was there already (with whatever number of partitions it has).

        Raises
        ------
        ConfigurationError
            No topic can have this name or number of partitions.
        Unavailable
            librdkafka refused the topic.
        """
        if partitions < 1 or not _TOPIC_NAME.fullmatch(name):
            raise ConfigurationError(
                f"topic {name!r} with {partitions} partitions cannot exist; use 1 or more partitions and a name of "
                "1 to 249 letters, digits, '.', '-' and '_'"
            )
        code: int = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code not in (_NO_ERROR, _TOPIC_ALREADY_EXISTS):
            raise Unavailable(
                f"embedded broker: topic {name!r} with {partitions} partitions refused with error {code}; "
                "restart it with `python -m infra down` and `up`"
            )
        return code == _NO_ERROR

    def advertise(self, host: str, port: int) -> None:
        """Name another address to clients (a proxy in front), while still listening on the own one.

        Raises
        ------
        Unavailable
            librdkafka refused the address.
        """
        code: int = self._library.rd_kafka_mock_broker_set_host_port(self._cluster, _ONLY_BROKER, host.encode(), port)
        if code != _NO_ERROR:
            raise Unavailable(
                f"embedded broker: advertised address {host}:{port} refused with error {code}; use a loopback address"
            )

    def close(self) -> None:
        """End the broker; every topic is gone with it. Closing twice is harmless."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
