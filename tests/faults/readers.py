"""People who ask all the while: each answer is noted, and judged against what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace.client import Answer, Millrace
from millrace.connection import find_connection
from millrace.errors import RequestFailed
from tests.faults.ends import broken_ends, ends_of
from tests.faults.log_access import Raw
from tests.faults.oracle import Entity, Oracle
from tests.faults.workload import scaled

GRACE_S = 0.5
PACE = scaled(20, 1000)
"""Questions a second at most; at full scale people ask all the while and leave the workers time for documents."""


class Readers:
    """Asks in a thread, one question after another in a conversation a tenant, until the block ends.

    Findings go to the oracle: a version that went back within a conversation (I3), a document whose access never
    allowed the asker (I5), a question that did not end once, by its deadline and half a second (I6).

    Parameters
    ----------
    home : Path
        Home folder of the stack.
    oracle : Oracle
        Knows the tenants and who may see what.
    group : str
        Group of everyone who asks, beside ``*``.
    timeout_s : float
        Time allowed to a question, in seconds.
    pace : float
        Questions a second at most.
    """

    def __init__(
        self, home: Path, oracle: Oracle, group: str = "g0", timeout_s: float = 6.0, pace: float = PACE
    ) -> None:
        self._home = home
        self._oracle = oracle
        self._group = group
        self._timeout_s = timeout_s
        self._pace = pace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_all_the_while()), name="readers")
        self._highest: dict[Entity, int] = {}
        self._answered: list[str] = []
        self.n_failed = 0
        self.seen: set[tuple[str, str, str, int]] = set()  # tenant, document, chunk, version
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)
        if error is None and self._error is not None:
            raise self._error

    @property
    def n_answered(self) -> int:
        """Questions that had an answer."""
        return len(self._answered)

    def judge(self, listed: set[tuple[str, str, str]]) -> None:
        """Compare every hit with the log: `listed` are the (tenant, document, chunk) of all versions.

        Someone who is only in `group` must never have seen a document that was never opened to it.
        """
        open_to: dict[Entity, set[str]] = {}
        for change in self._oracle.acknowledged.values():
            if change.kind == "access":
                open_to.setdefault(change.entity, set()).update(change.groups)
        for tenant, document, chunk, _ in self.seen:
            if (tenant, document, chunk) not in listed:
                self._oracle.foreign.append(f"{tenant} was shown {chunk} of {document}, which it does not list")
            if open_to.get((tenant, document), set()).isdisjoint({"*", self._group}):
                self._oracle.foreign.append(f"{tenant}/{document} was shown to {self._group}")

    def judge_ends(self, replies: Sequence[Raw]) -> None:
        """Compare a full scan of the reply topic with the answers: none may be missing or be one of two.

        The embedded broker keeps some megabytes; the last answers are surely among them.
        """
        told = ends_of(replies, self._oracle.tenants, self._oracle.codec)
        self._oracle.unanswered += broken_ends(self._answered[-200:], told)

    async def _ask_all_the_while(self) -> None:
        try:
            rng = random.Random(5)
            async with Millrace(find_connection(home=self._home)) as client:
                tenants = sorted(self._oracle.tenants)
                while not self._stop.is_set():
                    await asyncio.gather(
                        asyncio.sleep(len(tenants) / self._pace),
                        *(self._ask(client, tenant, rng) for tenant in tenants),
                    )
        except BaseException as error:  # noqa: BLE001 - told to the test
            self._error = error

    async def _ask(self, client: Millrace, tenant: str, rng: random.Random) -> None:
        words = " ".join(rng.sample(["river", "stone", "mill", "wheel", "ledger", "clerk", "bridge", "oil"], 3))
        began = time.monotonic()
        try:
            answer = await client.search(
                words,
                tenant=tenant,
                groups=(self._group,),
                conversation=f"reader-{tenant}",
                timeout_s=self._timeout_s,
                exact=True,
            )
        except RequestFailed:
            self.n_failed += 1
        else:
            self._answered.append(answer.correlation_id)
            self._note(tenant, answer)
        took = time.monotonic() - began
        if took > self._timeout_s + GRACE_S:
            self._oracle.unanswered.append(f"a question of {tenant} ended after {took:.2f} s of {self._timeout_s:g} s")

    def _note(self, tenant: str, answer: Answer) -> None:
        for hit in answer.hits:
            entity = (tenant, hit.document)
            if hit.version < self._highest.get(entity, 0):
                self._oracle.watched.append(f"{entity} went back from {self._highest[entity]} to {hit.version}")
            self._highest[entity] = max(hit.version, self._highest.get(entity, 0))
            self.seen.add((tenant, hit.document, hit.chunk_id, hit.version))
