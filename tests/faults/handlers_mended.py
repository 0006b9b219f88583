"""The agent of `tests.faults.handlers` after its author has mended it."""

from millrace import agent
from tests.faults.jobs import DONE, JOBS, JobDone, JobSubmitted, perform


@agent(source=JOBS, sinks=(DONE,), name="faults_work")
async def work(job: JobSubmitted) -> JobDone:
    """Do a job.

    Delivery: at least once; a repetition repeats the id of its output.
    """
    return await perform(job, mended=True)
