"""What every event is: an immutable, typed body plus the metadata that travels in headers.

An event class is written once, here in Python; its Avro schema is derived from it (`millrace.schema`).
Documentation of a field is the plain string in its ``Annotated``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """Where a record was read: set by runners, never on the wire."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents context of one event; stands in record headers only.

    ``time_us`` is microseconds since the epoch, UTC. ``deadline_ms`` is unix milliseconds, 0 for none.
    ``origin``, ``attempt`` and ``timings_ms`` are set by the runner that delivers the event and are not on the wire.
    """

    id: str
    type: str
    source: str
    time_us: int
    tenant: str
    subject: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    reply_to: str = ""
    reply_partition: int = -1
    deadline_ms: int = 0
    origin: Origin | None = None
    attempt: int = 0
    timings_ms: Mapping[str, float] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Base of all events. Equality is equality of bodies; ``meta`` is attached beside the body.

    Subclasses set ``namespace`` and may override `slot` when an agent emits several of them for one input.
    """

    namespace: ClassVar[str] = "millrace"

    tenant: str

    @classmethod
    def type_name(cls) -> str:
        """Full name: the Avro record name and the ``ce_type`` header."""
        return f"{cls.namespace}.{cls.__name__}"

    @property
    def meta(self) -> Meta:
        """Metadata of this event.

        Raises
        ------
        AttributeError
            If the event was built by hand and never passed a runner or `with_meta`.
        """
        found: Meta | None = self.__dict__.get("meta")
        if found is None:
            message = f"{type(self).__name__} has no meta yet: it is set when the event is produced or read"
            raise AttributeError(message)
        return found

    @property
    def has_meta(self) -> bool:
        """Whether metadata has been attached."""
        return "meta" in self.__dict__

    def slot(self) -> str:
        """Name that tells apart several outputs of this type for one input; part of the derived id."""
        return ""

    def once(self) -> str:
        """Name under which it is one event, whatever input it followed from; empty where its cause tells it apart."""
        return ""

    def with_meta(self, meta: Meta) -> Self:
        """Return a copy that carries `meta`."""
        return attach(msgspec.structs.replace(self), meta)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with fields changed and the same metadata."""
        changed = msgspec.structs.replace(self, **changes)
        return attach(changed, self.__dict__["meta"]) if self.has_meta else changed


E = TypeVar("E", bound=Event)


def attach(event: E, meta: Meta) -> E:
    """Attach `meta` to a fresh event in place: for codecs and runners, which own the instance."""
    event.__dict__["meta"] = meta
    return event
