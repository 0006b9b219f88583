"""What a registry says to a `Codec`: ids to write with and schemas to read with, each asked for once."""

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from millrace.errors import ConfigurationError, Unavailable
from millrace.event import Event
from millrace.registry import Registry, subject_of
from millrace.schema import avro_schema
from millrace.schema_lock import SchemaLock, released
from millrace.topics import CATALOGUE, Topic

T = TypeVar("T")

_UNKNOWN_FOR_S: Final = 30.0
_MAX_UNKNOWN: Final = 10_000


class UnmetSchema(Unavailable):
    """A schema id that the registry has to be asked for, which nobody may wait for on an event loop."""

    def __init__(self, number: int, registered: "Registered") -> None:
        super().__init__(f"schema id {number} was not met yet, and the registry is not asked here")
        self._number = number
        self._registered = registered

    async def asked(self) -> None:
        """Ask the registry, in a thread; afterwards the id is known, or known to be unknown.

        Raises
        ------
        Unavailable
            It does not answer, or refuses to say.
        """
        await self._registered.ask(self._number)


async def once_met(decode: Callable[[], T]) -> T:
    """Result of something that decodes: ids that it meets for the first time are asked for, and it is run again.

    Raises
    ------
    Unavailable
        The registry does not answer.
    """
    while True:
        try:
            return decode()
        except UnmetSchema as unmet:
            await unmet.asked()


class Registered:
    """Ids and schemas of one registry.

    What was asked for once is kept for good, as an id never changes its meaning; so a reader that has met an id, or
    called `warm`, goes on while the registry is down. That an id is unknown is kept for 30 s. Safe to share between
    threads.

    Parameters
    ----------
    registry : Registry
        Asked when something is not known yet.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # A thread of its own: a registry that hangs holds up nobody else.
        self._thread = ThreadPoolExecutor(1, "schema-registry")
        self._lock = threading.Lock()
        self._asking: dict[Hashable, threading.Lock] = {}
        self._ids: dict[type[Event], int] = {}
        self._schemas: dict[int, dict[str, Any]] = {}
        self._unknown_until_s: dict[int, float] = {}

    def id_of(self, event: type[Event], topic: Topic | None = None) -> int:
        """Id to write an event's current schema with: the ``ids`` of a Codec.

        Parameters
        ----------
        event : type
            The event.
        topic : Topic, optional
            Carries it; found in Millrace's catalogue when missing.

        Raises
        ------
        ConfigurationError
            The registry does not have it.
        Unavailable
            The registry does not answer.
        """
        number = self._ids.get(event)
        if number is None:
            with self._one_asks(event):
                number = self._ids.get(event)
                if number is None:
                    number = self._ids[event] = self._looked_up(event, topic or _topic_of(event))
        return number

    def schema(self, number: int) -> dict[str, Any] | None:
        """Avro schema of an id, or None: the ``writers`` of a Codec that may wait for the registry.

        Raises
        ------
        Unavailable
            The id was never met, and the registry does not answer or refuses to say.
        """
        with self._one_asks(number):
            try:
                return self.known(number)
            except UnmetSchema:
                pass
            try:
                found = self._registry.schema(number)
            except ConfigurationError as error:  # a registry that lets nobody in says nothing about the record
                raise Unavailable(str(error)) from error
            if found is not None:
                self._schemas[number] = found
            else:
                if len(self._unknown_until_s) >= _MAX_UNKNOWN:
                    self._unknown_until_s.clear()
                self._unknown_until_s[number] = time.monotonic() + _UNKNOWN_FOR_S
            return found

    def known(self, number: int) -> dict[str, Any] | None:
        """Avro schema of an id, or None, at once: the ``writers`` of a Codec on an event loop.

        Raises
        ------
        UnmetSchema
            Only the registry could say.
        """
        found = self._schemas.get(number)
        if found is None and time.monotonic() >= self._unknown_until_s.get(number, 0.0):
            raise UnmetSchema(number, self)
        return found

    async def ask(self, number: int) -> None:
        """Make an id known, without waiting on the event loop; errors as of `schema`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.schema, number)

    def warm(self, topics: Iterable[Topic] = tuple(CATALOGUE.values()), lock: SchemaLock | None = None) -> None:
        """Ask for everything that these topics may hold by the lock, so that the registry is not needed later.

        Parameters
        ----------
        topics : iterable of Topic
            What will be read or written.
        lock : SchemaLock, optional
            Released versions; Millrace's own by default.

        Raises
        ------
        ConfigurationError
            The registry does not have the current schema of an event.
        Unavailable
            The registry does not answer.
        """
        versions = (lock or released()).events
        for topic in topics:
            for event in topic.events:
                self.id_of(event, topic)
                for version in versions.get(event.type_name(), ())[:-1]:
                    schema = (lock or released()).schema(version)
                    number = self._registry.lookup(subject_of(topic, event), schema)
                    if number is not None:
                        self._schemas[number] = schema

    @contextmanager
    def _one_asks(self, what: Hashable) -> Iterator[None]:
        """Let one thread at a time ask for something; whoever asks for something else does not wait."""
        with self._lock:
            asking = self._asking.setdefault(what, threading.Lock())
        try:
            with asking:
                yield
        finally:
            with self._lock:
                self._asking.pop(what, None)

    def _looked_up(self, event: type[Event], topic: Topic) -> int:
        subject, schema = subject_of(topic, event), avro_schema(event)
        number = self._registry.lookup(subject, schema)
        if number is None:
            raise ConfigurationError(
                f"the schema registry at {self._registry.access.url} does not have this release's {event.type_name()} "
                f"under subject {subject!r}; register it with `python -m infra register` (and --agents MODULE for "
                "events of your own) before anything writes it"
            )
        self._schemas[number] = schema
        return number


def _topic_of(event: type[Event]) -> Topic:
    for topic in CATALOGUE.values():
        if event in topic.events:
            return topic
    raise ConfigurationError(
        f"{event.type_name()} is on no topic of Millrace's catalogue, so its subject in the registry is not known; "
        "name its topic: `codec.register(event, topic)`"
    )
