"""Jobs: what a worker does when the pump alone is under test. Slow, failing, refusing, or waiting for an outage."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, ClassVar

from millrace.codec import Codec
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event
from millrace.ids import derived
from millrace.keys import key, partition_for
from millrace.topics import Topic
from tests.faults.log_access import Outgoing, Place, Raw, root

GROUP = "millrace.faults_work"


class JobSubmitted(Event, frozen=True, kw_only=True):
    """Work to do."""

    namespace: ClassVar[str] = "faults"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Jobs of one lane are done one after another."]
    n: Annotated[int, "Number within the lane."]
    kind: Annotated[str, "ok, bug, reject, down or held."] = "ok"
    work_ms: Annotated[int, "How long it takes."] = 0
    flag: Annotated[str, "File that ends an outage, or lets a held job go, by existing."] = ""
    payload: Annotated[str, "Anything."] = ""


class JobDone(Event, frozen=True, kw_only=True):
    """Work that was done."""

    namespace: ClassVar[str] = "faults"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Lane of the job."]
    n: Annotated[int, "Number of the job."]
    pid: Annotated[int, "Process that did it."] = 0


def _lane(event: JobSubmitted | JobDone) -> str:
    return key(event.tenant, "l", event.lane)


JOBS = Topic(name="faults.job.submitted.v1", events=(JobSubmitted,), key=_lane, group="faults")
DONE = Topic(name="faults.job.done.v1", events=(JobDone,), key=_lane, group="faults")
GROUPS = {GROUP: (JOBS.name,)}
_CODEC = Codec((JobSubmitted, JobDone))


class Bug(Exception):
    """What a mistake raises."""


async def perform(job: JobSubmitted, *, mended: bool) -> JobDone:
    """Do what the job says."""
    if job.work_ms:
        await asyncio.sleep(job.work_ms / 1000)
    if job.kind == "reject":
        raise InputRejected("the job can never be done")
    if job.kind == "bug" and not mended:
        raise Bug(job.payload)
    if job.kind == "down" and not _exists(job.flag):
        with open(f"{job.flag}.tries", "a") as tries:  # noqa: ASYNC230, PTH123 - one character
            tries.write(".")
        raise Unavailable("what the job needs is down")
    while job.kind == "held" and not _exists(job.flag):  # noqa: ASYNC110 - another process ends it
        await asyncio.sleep(0.02)
    return JobDone(tenant=job.tenant, lane=job.lane, n=job.n, pid=os.getpid())


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - one stat


def submitted(job: JobSubmitted) -> Outgoing:
    """Record of a job."""
    return root(job, JOBS, derived("job", job.tenant, job.lane, job.n))


@dataclass
class JobFindings:
    """What became of jobs.

    Attributes
    ----------
    lost : list
        Acknowledged jobs that were neither done nor dead-lettered.
    doubled : list
        Jobs whose effect shows more than once to a reader that drops repeated ids.
    disordered : list
        Jobs done for the first time after a later one of their lane.
    repeated : Counter
        Jobs done again, by the process that did so and the partition they came from; harmless, but bounded.
    letters : dict
        Dead letters by the place of their source record.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    repeated: Counter[tuple[int, int]] = field(default_factory=Counter)
    letters: dict[Place, list[Raw]] = field(default_factory=lambda: defaultdict(list))

    @property
    def n_repeated(self) -> int:
        """Jobs done again, of all processes and partitions."""
        return self.repeated.total()

    @property
    def most_repeated(self) -> int:
        """Most jobs of one partition that one process did again: what the death before it cost."""
        return max(self.repeated.values(), default=0)

    @property
    def violations(self) -> dict[str, list[str]]:
        """The first of each kind."""
        kinds = {"lost": self.lost, "doubled": self.doubled, "disordered": self.disordered}
        return {name: found[:5] for name, found in kinds.items() if found}


class JobOracle:
    """Takes acknowledged jobs and judges the output topic.

    Parameters
    ----------
    tenant : str
        Whose jobs.
    """

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.acknowledged: dict[Place, JobSubmitted | None] = {}  # None for a record that is no job
        self.poison: dict[Place, Outgoing] = {}

    def acknowledge(self, job: JobSubmitted, place: Place) -> None:
        """Take note of an acknowledged job."""
        self.acknowledged[place] = job

    def acknowledge_poison(self, record: Outgoing, place: Place) -> None:
        """Take note of an acknowledged record that is no job."""
        self.acknowledged[place] = None
        self.poison[place] = record

    def check(self, records: Iterable[Raw]) -> JobFindings:
        """Judge a full scan of the output topic and the dead letter topic."""
        found = JobFindings()
        ids: dict[str, set[str]] = defaultdict(set)
        times: Counter[str] = Counter()
        highest: dict[str, int] = {}
        partitions = {f"{job.lane}/{job.n}": at.partition for at, job in self.acknowledged.items() if job is not None}
        for raw in records:
            if raw.place.topic.endswith(".dlq"):
                source = Place(
                    raw.header("mr-error-topic"),
                    int(raw.header("mr-error-partition")),
                    int(raw.header("mr-error-offset")),
                )
                if source in self.acknowledged:
                    found.letters[source].append(raw)
                continue
            done = _CODEC.decode(raw.value)
            if not isinstance(done, JobDone) or done.tenant != self.tenant:
                continue
            name = f"{done.lane}/{done.n}"
            ids[name].add(raw.header("ce_id"))
            times[name] += 1
            if times[name] == 1:
                if done.n < highest.get(done.lane, -1):
                    found.disordered.append(f"{name} after {highest[done.lane]}")
                highest[done.lane] = max(done.n, highest.get(done.lane, -1))
            else:
                found.repeated[done.pid, partitions.get(name, -1)] += 1
        for place, job in self.acknowledged.items():
            if (job is None or not times[f"{job.lane}/{job.n}"]) and place not in found.letters:
                found.lost.append(f"{job.lane}/{job.n} at {place}" if job else f"poison at {place}")
        found.doubled = [name for name, some in ids.items() if len(some) > 1]
        return found


def lanes(tenant: str, n_each: int, name: str = "lane", n_partitions: int = 4) -> list[list[str]]:
    """Names of `n_each` lanes of each partition, so that no partition is left out by chance."""
    found: list[list[str]] = [[] for _ in range(n_partitions)]
    for number in count():
        lane = f"{name}-{number}"
        some = found[partition_for(key(tenant, "l", lane), n_partitions)]
        if len(some) < n_each:
            some.append(lane)
        if all(len(each) == n_each for each in found):
            return found
    raise AssertionError("unreachable")


def decoded(raw: Raw) -> Event:
    """Event of a record of these topics."""
    return _CODEC.decode(raw.value)
