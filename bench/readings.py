"""The events that the throughput benchmarks move, and the topic they stand in."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from millrace import keys
from millrace.event import Event, Meta
from millrace.topics import Topic


class ReadingTaken(Event, frozen=True, kw_only=True):
    """A small flat event, as sensors, clicks and orders give them."""

    namespace: ClassVar[str] = "millrace.bench"

    tenant: Annotated[str, "Tenant."]
    sensor: Annotated[str, "Key within the tenant."]
    sequence: Annotated[int, "Number of the reading."]
    value: Annotated[float, "What was read."]
    unit: Annotated[str, "Unit of the value."]
    quality: Annotated[str, "Grade."] = "good"
    site: Annotated[str, "Where the sensor stands."] = ""
    operator: Annotated[str | None, "Who confirmed it."] = None


class ReadingChecked(Event, frozen=True, kw_only=True):
    """What is emitted for each reading."""

    namespace: ClassVar[str] = "millrace.bench"

    tenant: Annotated[str, "Tenant."]
    sensor: Annotated[str, "Key within the tenant."]
    sequence: Annotated[int, "Number of the reading."]
    value: Annotated[float, "What was read."]
    within_limits: Annotated[bool, "Verdict."]


EVENTS = (ReadingTaken, ReadingChecked)


def _key(event: Any) -> str:
    return keys.key(event.tenant, "x", event.sensor)


def reading_topic(name: str, event: type[Event]) -> Topic:
    """Topic keyed by sensor."""
    return Topic(name=name, events=(event,), key=_key)


def reading(i: int) -> ReadingTaken:
    """The `i`-th reading, with metadata."""
    event = ReadingTaken(
        tenant="acme", sensor=f"pump-{i % 997:04d}", sequence=i, value=i * 0.125, unit="kPa", site="north lock"
    )
    meta = Meta(
        id=f"00000000-0000-5000-8000-{i:012d}", type=ReadingTaken.type_name(), source="bench/readings",
        time_us=1_700_000_000_000_000 + i, tenant=event.tenant, correlation_id=f"00000000-0000-5000-9000-{i:012d}",
    )  # fmt: skip
    return event.with_meta(meta)


def readings(n: int) -> Iterator[ReadingTaken]:
    """The first `n` readings."""
    return (reading(i) for i in range(n))
