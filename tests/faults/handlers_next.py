"""The next release of `tests.faults.handlers`: jobs and results have fields that the old one does not know."""

from typing import Annotated, ClassVar

from millrace import agent
from millrace.event import Event
from millrace.keys import key
from millrace.topics import Topic


class JobSubmitted(Event, frozen=True, kw_only=True):
    """Work to do."""

    namespace: ClassVar[str] = "faults"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Jobs of one lane are done one after another."]
    n: Annotated[int, "Number within the lane."]
    priority: Annotated[int, "New in this release."] = 0


class JobDone(Event, frozen=True, kw_only=True):
    """Work that was done."""

    namespace: ClassVar[str] = "faults"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Lane of the job."]
    n: Annotated[int, "Number of the job."]
    release: Annotated[str, "New in this release."] = ""


JOBS = Topic(
    name="faults.job.submitted.v1",
    events=(JobSubmitted,),
    key=lambda job: key(job.tenant, "l", job.lane),
    group="faults",
)
DONE = Topic(
    name="faults.job.done.v1", events=(JobDone,), key=lambda job: key(job.tenant, "l", job.lane), group="faults"
)


@agent(source=JOBS, sinks=(DONE,), name="faults_work")
async def work(job: JobSubmitted) -> JobDone:
    """Do a job.

    Delivery: at least once; a repetition repeats the id of its output.
    """
    return JobDone(tenant=job.tenant, lane=job.lane, n=job.n, release="next")
