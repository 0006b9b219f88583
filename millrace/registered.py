"""What a registry says to a `Codec`: ids to write with and schemas to read with, each asked for once."""

import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from millrace.errors import ConfigurationError, Unavailable
from millrace.event import Event
from millrace.registry import Registry, subject_of
from millrace.schema import avro_schema
from millrace.schema_lock import SchemaLock, released
from millrace.topics import CATALOGUE, Topic

_UNKNOWN_FOR_S: Final = 30.0
_MAX_UNKNOWN: Final = 10_000


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
        self._lock = threading.Lock()
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
        with self._lock:
            if event not in self._ids:
                self._ids[event] = self._looked_up(event, topic or _topic_of(event))
            return self._ids[event]

    def schema(self, number: int) -> dict[str, Any] | None:
        """Avro schema of an id, or None: the ``writers`` of a Codec.

        Raises
        ------
        Unavailable
            The id was never met, and the registry does not answer or refuses to say.
        """
        with self._lock:
            if number in self._schemas or time.monotonic() < self._unknown_until_s.get(number, 0.0):
                return self._schemas.get(number)
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
