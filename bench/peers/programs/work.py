"""What every peer is given to do: decode a reading into a typed event, look at it, answer with a checked reading.

Decoding is fastavro with a parsed schema and msgspec's conversion into a frozen, validated struct, as in Millrace's
codec. A reading says by its quality whether it takes long or fails.
"""

import io
import os
import time
from typing import Any, Protocol

import msgspec
from fastavro import parse_schema, schemaless_reader, schemaless_writer

HEAD_BYTES = 5


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is told.

    Attributes
    ----------
    bootstrap, source, sink : str
        Broker and topics; without a sink nothing is written.
    group : str
        Consumer group.
    folder : str
        For state of the program that outlives its process.
    reads, writes : dict
        Avro schemas of the two events.
    writes_id : int
        Id of the second one in the head of each value.
    variant : str
        Which of the peer's ways to run.
    n, warm_up : int
        Readings after which the sample is printed, and those at the start that are not timed; 0 where nobody times.
    core : int or None
        The core that the process is pinned to.
    slow_s, work_s : float
        Seconds that a slow reading takes, and any other one.
    commit_s, session_s : float
        Seconds between commits, and after which a silent member of the group is given up.
    """

    bootstrap: str
    source: str
    sink: str = ""
    group: str
    folder: str
    reads: dict[str, Any]
    writes: dict[str, Any]
    writes_id: int
    variant: str = ""
    n: int = 0
    warm_up: int = 0
    core: int | None = None
    slow_s: float = 0.0
    work_s: float = 0.0
    commit_s: float = 1.0
    session_s: float = 6.0

    @property
    def session_ms(self) -> int:
        """The session timeout in milliseconds."""
        return round(self.session_s * 1000)

    @property
    def commit_ms(self) -> int:
        """The commit interval in milliseconds."""
        return round(self.commit_s * 1000)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A reading as the peers' code sees it: the same fields as `bench.readings.ReadingTaken`."""

    tenant: str
    sensor: str
    sequence: int
    value: float
    unit: str
    quality: str
    site: str
    operator: str | None


class Readable(Protocol):
    """What is looked at of a reading, whoever decoded it."""

    @property
    def tenant(self) -> str: ...  # noqa: D102

    @property
    def sensor(self) -> str: ...  # noqa: D102

    @property
    def sequence(self) -> int: ...  # noqa: D102

    @property
    def value(self) -> float: ...  # noqa: D102

    @property
    def quality(self) -> str: ...  # noqa: D102


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a reading."""

    tenant: str
    sensor: str
    sequence: int
    value: float
    within_limits: bool


class CannotCheck(Exception):
    """What the handler raises for a reading that fails."""


class Note(msgspec.Struct, frozen=True, tag_field="note", tag=str.lower):
    """A line that a program prints."""


class Slow(Note, frozen=True):
    """A slow reading is in work."""

    sequence: int


class Timed(Note, frozen=True):
    """All readings were handled.

    Attributes
    ----------
    n : int
        Readings after the warm-up.
    seconds, cpu_seconds : float
        Wall time and processor time of this process for them.
    """

    n: int
    seconds: float
    cpu_seconds: float


class Work:
    """Decoding, handling and encoding of one process.

    Parameters
    ----------
    job : Job
        What to do.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._reads = parse_schema(job.reads)
        self._writes = parse_schema(job.writes)
        self._head = b"\x00" + job.writes_id.to_bytes(4, "big")
        self._seen = 0
        self._from = (0.0, 0.0)

    def plain(self, value: bytes) -> dict[str, Any]:
        """Fields of an encoded reading.

        Raises
        ------
        Exception
            Whatever fastavro raises for bytes that are none.
        """
        body = io.BytesIO(value)
        body.seek(HEAD_BYTES)
        found: dict[str, Any] = schemaless_reader(body, self._reads, None)  # type: ignore[assignment]
        return found

    def decode(self, value: bytes) -> Reading:
        """A typed, validated reading."""
        return msgspec.convert(self.plain(value), Reading)

    def takes_s(self, reading: Readable) -> float:
        """Seconds to wait before looking at a reading: what the work on it takes."""
        if reading.quality == "slow":
            tell(Slow(reading.sequence))
            return self.job.slow_s
        return self.job.work_s

    def look(self, reading: Readable) -> None:
        """Handle a reading: count it, and print the sample with the last one.

        Raises
        ------
        CannotCheck
            If it is one that fails.
        """
        if reading.quality == "failing":
            raise CannotCheck(f"reading {reading.sequence} cannot be checked")
        self._seen += 1
        if self._seen == self.job.warm_up:
            self._from = _now()
        elif self._seen == self.job.n:
            ended = _now()
            tell(Timed(self.job.n - self.job.warm_up, ended[0] - self._from[0], ended[1] - self._from[1]))

    def answer(self, reading: Readable) -> bytes:
        """The checked reading as bytes."""
        checked = Checked(
            tenant=reading.tenant,
            sensor=reading.sensor,
            sequence=reading.sequence,
            value=reading.value,
            within_limits=reading.value < 1000,
        )
        return self.encode(checked)

    def encode(self, checked: Checked) -> bytes:
        """A checked reading as bytes."""
        out = io.BytesIO()
        out.write(self._head)
        schemaless_writer(out, self._writes, msgspec.to_builtins(checked))
        return out.getvalue()


def tell(note: Note) -> None:
    """Print a line in one write, past any buffer: the process may be killed next."""
    os.write(1, msgspec.json.encode(note) + b"\n")


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
