"""What a tenant may ask for, and what the gateway can bear: refused early, with the time at which to come again.

Counts are this process's own; `infra` gives each replica its share. A window moves with every entry, and an entry is
made in one step of the event loop, so that no race exceeds a budget.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.health import Health
from gateway.identity import Identity
from gateway.metrics import Metrics
from gateway.problems import Problem
from gateway.settings import Limits

TOKENS_A_UNIT: Final = 100
"""Tokens are counted in pieces of so many, rounded up."""
_BYTES_A_TOKEN: Final = 4
_WINDOW_S: Final = 60
_SEARCHES: Final = 2


class Admission:
    """Lets requests in, or refuses them.

    Parameters
    ----------
    limits : Limits
        The bounds.
    health : Health
        Whether broker and event loop keep up.
    metrics : Metrics
        Counts what was refused.

    Attributes
    ----------
    n_uploading : int
        Bytes of documents that are held.
    searches : asyncio.Semaphore
        Held by whoever reads the log for one caller's sake: each has a consumer of its own.
    """

    def __init__(self, limits: Limits, health: Health, metrics: Metrics) -> None:
        self.limits = limits
        self._health = health
        self._metrics = metrics
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._budgets = {
            "requests": _per_minute("requests", limits.requests_per_minute),
            "documents": _per_minute("documents", limits.documents_per_minute),
            "tokens": _per_minute("tokens", -(-limits.tokens_per_minute // TOKENS_A_UNIT)),
        }
        self._asking: Counter[str] = Counter()
        self._watching: Counter[str] = Counter()
        self.n_uploading = 0
        self.searches = asyncio.Semaphore(_SEARCHES)

    @property
    def n_asking(self) -> int:
        """Questions that wait for an answer."""
        return self._asking.total()

    @property
    def n_watching(self) -> int:
        """Callers that wait for what becomes of a change."""
        return self._watching.total()

    def request(self, identity: Identity) -> dict[str, str]:
        """Count a request of a tenant; gives the ``RateLimit`` headers of its response.

        Raises
        ------
        Problem
            429.
        """
        self._spend("requests", identity, 1)
        return self._headers("requests", identity)

    def write(self, identity: Identity) -> None:
        """Count a write; `Problem` with 429, or 503 where it could not be done now."""
        self._bearable()
        self._spend("documents", identity, 1)

    @contextmanager
    def upload(self, announced: str) -> Iterator[None]:
        """Hold memory for the body of a document; `announced` is its ``Content-Length``, empty where it has none.

        Raises
        ------
        Problem
            503 where those that are read already take up what there is.
        """
        most = self.limits.document_bytes
        size = min(int(announced), most) if announced.isdecimal() else most
        if self.n_uploading + size > self.limits.uploads_bytes and self.n_uploading:
            raise self._refused(Problem(503, "overloaded", "too many documents are being sent", retry_after_s=1))
        self.n_uploading += size
        try:
            yield
        finally:
            self.n_uploading -= size

    def check_question(self, text: str) -> None:
        """Refuse a question that is too long, before anything is done for it."""
        if len(text) > (most := self.limits.question_chars):
            raise self._refused(
                Problem(
                    422,
                    "question_too_long",
                    f"the question has {len(text)} characters, at most {most} are read; shorten it",
                )
            )

    @contextmanager
    def question(self, identity: Identity, text: str) -> Iterator[None]:
        """Hold a question's place while it waits for its answer.

        Raises
        ------
        Problem
            422 for one that is too long, 429 where the tenant has used up what it may, 503 where the gateway has.
        """
        self.check_question(text)
        self._bearable()
        if self._health.workers_away():
            raise self._refused(Problem(503, "unavailable", "nobody answers questions now", retry_after_s=2))
        with self.place(identity):
            self._spend("tokens", identity, units_of(text))
            yield

    def texts(self, identity: Identity, texts: Sequence[str]) -> None:
        """Count texts that a model is to read; `Problem` with 429, or 503 where it could not be done now."""
        self._bearable()
        self._spend("tokens", identity, sum(units_of(text) for text in texts))

    def answered(self, identity: Identity, text: str) -> None:
        """Count what a model wrote; it is there already, so it uses up at most what is left and refuses nothing."""
        item = self._budgets["tokens"]
        if item is not None and text:
            left = self._window.get_window_stats(item, identity.tenant).remaining
            if cost := min(left, units_of(text)):
                self._window.hit(item, identity.tenant, cost=cost)

    @contextmanager
    def place(self, identity: Identity) -> Iterator[None]:
        """Hold one of the places of those who wait for an answer."""
        try:
            with self._held(self._asking, identity, "too_many_questions", "questions wait for answers"):
                self._metrics.pending.set(self.n_asking)
                yield
        finally:
            self._metrics.pending.set(self.n_asking)

    @contextmanager
    def outcome(self, identity: Identity) -> Iterator[None]:
        """Hold a place while a caller waits for what becomes of a change: as many as for questions, counted apart.

        Raises
        ------
        Problem
            429 where the tenant has used up what it may, 503 where the gateway has.
        """
        with self._held(self._watching, identity, "too_many_receipts", "receipts wait for outcomes"):
            yield

    @contextmanager
    def _held(self, held: Counter[str], identity: Identity, name: str, who: str) -> Iterator[None]:
        tenant, most = identity.tenant, self.limits.concurrent_per_tenant
        if held.total() >= self.limits.concurrent:
            raise self._refused(Problem(503, "overloaded", f"too many {who}", retry_after_s=1))
        if held[tenant] >= most:
            raise self._refused(Problem(429, name, f"{most} {who} for this tenant, no more may", retry_after_s=1))
        held[tenant] += 1
        try:
            yield
        finally:
            held[tenant] -= 1
            if not held[tenant]:
                del held[tenant]

    def _bearable(self) -> None:
        health = self._health
        if not health.ready:
            raise self._refused(Problem(503, "unavailable", health.why_not, retry_after_s=2))
        if health.lag_s > self.limits.max_lag_s:
            raise self._refused(Problem(503, "overloaded", "the gateway is behind with its work", retry_after_s=2))

    def _spend(self, budget: str, identity: Identity, cost: int) -> None:
        item = self._budgets[budget]
        if item is None:
            return
        if cost > item.amount or not self._window.hit(item, identity.tenant, cost=cost):
            headers = self._headers(budget, identity)
            reset_s = self._reset_s(budget, identity)
            text = f"this tenant has used up its {budget} of the last minute"
            raise self._refused(
                Problem(429, f"too_many_{budget}", text, retry_after_s=max(1.0, reset_s), headers=headers)
            )

    def _headers(self, budget: str, identity: Identity) -> dict[str, str]:
        item = self._budgets[budget]
        if item is None:
            return {}
        left = self._window.get_window_stats(item, identity.tenant).remaining
        reset_s = round(self._reset_s(budget, identity))
        return {
            "RateLimit-Policy": f'"{budget}";q={item.amount};w={_WINDOW_S}',
            "RateLimit": f'"{budget}";r={max(0, left)};t={reset_s}',
        }

    def _reset_s(self, budget: str, identity: Identity) -> float:
        item = self._budgets[budget]
        if item is None:
            return 0.0
        found = self._window.get_window_stats(item, identity.tenant).reset_time - time.time()
        return min(float(_WINDOW_S), max(0.0, found))

    def _refused(self, problem: Problem) -> Problem:
        self._metrics.refused.labels(problem.name).inc()
        return problem


def units_of(text: str) -> int:
    """Units of the token budget that a text costs."""
    tokens = -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN)
    return max(1, -(-tokens // TOKENS_A_UNIT))


def _per_minute(name: str, amount: int) -> RateLimitItemPerMinute | None:
    return RateLimitItemPerMinute(amount, 1, namespace=name) if amount else None
