"""An agent of the old release that reads results, whoever wrote them."""

from typing import Annotated, ClassVar

from millrace import agent
from millrace.event import Event
from millrace.keys import key
from millrace.topics import Topic
from tests.faults.jobs import DONE, JobDone


class JobTallied(Event, frozen=True, kw_only=True):
    """A result was counted."""

    namespace: ClassVar[str] = "faults"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Lane of the job."]
    n: Annotated[int, "Number of the job."]


TALLIED = Topic(
    name="faults.job.tallied.v1", events=(JobTallied,), key=lambda job: key(job.tenant, "l", job.lane), group="faults"
)
GROUP = "millrace.faults_tally"


@agent(source=DONE, sinks=(TALLIED,), name="faults_tally")
async def tally(done: JobDone) -> JobTallied:
    """Count a result.

    Delivery: at least once; a repetition repeats the id of its output.
    """
    return JobTallied(tenant=done.tenant, lane=done.lane, n=done.n)
