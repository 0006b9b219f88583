"""Jobs: what a worker does when the pump alone is under test. Slow, failing, refusing, or waiting for an outage."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from millrace.codec import Codec
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event
from millrace.ids import derived
from millrace.keys import key
from millrace.topics import Topic
from tests.faults.log_access import Outgoing, Place, Raw, root

GROUP = "millrace.faults_work"


class JobSubmitted(Event, frozen=True, kw_only=True):
    """Work to do."""

    namespace: ClassVar[str] = "faults"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Jobs of one lane are done one after another."]
    n: Annotated[int, "Number within the lane."]
    kind: Annotated[str, "ok, bug, reject or down."] = "ok"
    work_ms: Annotated[int, "How long it takes."] = 0
    flag: Annotated[str, "File that says, by existing, that what was down is up again."] = ""
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
    if job.kind == "down" and not os.path.exists(job.flag):  # noqa: ASYNC240, PTH110 - one stat
        raise Unavailable("what the job needs is down")
    return JobDone(tenant=job.tenant, lane=job.lane, n=job.n, pid=os.getpid())


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
    n_repeated : int
        Records of work done again; harmless, but bounded.
    letters : dict
        Dead letters by the place of their source record.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    n_repeated: int = 0
    letters: dict[Place, list[Raw]] = field(default_factory=lambda: defaultdict(list))

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
        self.acknowledged: dict[Place, JobSubmitted | None] = {}

    def acknowledge(self, job: JobSubmitted | None, place: Place) -> None:
        """Take note of an acknowledged job; None for a record that is no job."""
        self.acknowledged[place] = job

    def check(self, records: Iterable[Raw]) -> JobFindings:
        """Judge a full scan of the output topic and the dead letter topic."""
        found = JobFindings()
        ids: dict[str, set[str]] = defaultdict(set)
        times: Counter[str] = Counter()
        highest: dict[str, int] = {}
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
        for place, job in self.acknowledged.items():
            if (job is None or not times[f"{job.lane}/{job.n}"]) and place not in found.letters:
                found.lost.append(f"{job.lane}/{job.n} at {place}" if job else f"poison at {place}")
        found.doubled = [name for name, some in ids.items() if len(some) > 1]
        found.n_repeated = sum(times.values()) - len(times)
        return found


def decoded(raw: Raw) -> Event:
    """Event of a record of these topics."""
    return _CODEC.decode(raw.value)
