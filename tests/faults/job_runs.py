"""What tests of the pump share: jobs of one test, from sending to judgement."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException

from tests.faults.harness import FaultStack
from tests.faults.jobs import DONE, GROUPS, JOBS, JobFindings, JobOracle, JobSubmitted, submitted
from tests.faults.log_access import Feeder, Raw, ends, scan, until
from tests.faults.worker import Worker

HANDLERS = "tests.faults.handlers"
MENDED = "tests.faults.handlers_mended"
OUTPUTS = (DONE.name, JOBS.dead_letters)


class Jobs:
    """Jobs of one test: sent, acknowledged to the oracle, judged."""

    def __init__(self, stack: FaultStack, tenant: str) -> None:
        self.stack = stack
        self.tenant = tenant
        self.oracle = JobOracle(tenant)
        self.feeder = Feeder(stack.bootstrap)
        self._numbers: dict[str, int] = {}
        self._n_before = self._n_records()

    def job(self, lane: str, **fields: Any) -> JobSubmitted:
        """The next job of a lane."""
        n = self._numbers[lane] = self._numbers.get(lane, -1) + 1
        return JobSubmitted(tenant=self.tenant, lane=lane, n=n, **fields)

    def send(self, jobs: Sequence[JobSubmitted]) -> None:
        """Send jobs and wait until all are acknowledged."""
        for job in jobs:
            self.send_later(job)
        self.feeder.flush()

    def send_later(self, job: JobSubmitted) -> None:
        """Send a job; the oracle is told once it is acknowledged."""
        self.feeder.send(submitted(job), lambda place: self.oracle.acknowledge(job, place))

    def n_done(self) -> int:
        """Records of output so far."""
        return self._n_records() - self._n_before

    def wait_done(self, n: int, timeout_s: float = 60.0) -> float:
        """Wait until there are `n` records of output; returns the seconds."""
        return until(lambda: self.n_done() >= n, timeout_s, lambda: f"{self.n_done()} done; {self.stack.logs()}")

    def outputs(self) -> list[Raw]:
        """Full scan of this test's output, and all dead letters.

        The output of other tests may be of a release that no codec here knows.
        """
        records = scan(self.stack.bootstrap, OUTPUTS)
        return [raw for raw in records if raw.place.topic != DONE.name or raw.header("ce_tenant") == self.tenant]

    def judge(self) -> JobFindings:
        """Let the oracle judge once no worker is behind."""
        self.stack.drained(GROUPS)
        return self.oracle.check(self.outputs())

    def _n_records(self) -> int:
        counts: list[int] = []

        def counted() -> bool:
            with contextlib.suppress(KafkaException):  # a broker that is coming back
                counts.append(sum(ends(self.stack.bootstrap, (DONE.name,)).values()))
            return bool(counts)

        until(counted, 60, self.stack.logs)
        return counts[-1]


def start(stack: FaultStack, agents: str = HANDLERS, **options: Any) -> Worker:
    """Start a worker on jobs."""
    return stack.start(agents=[agents], **options)
