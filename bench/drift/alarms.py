"""What the agents say of a stream."""

import random
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from agents.learn.drift import DriftState, detect_drift
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from bench.drift.answers import Answers, Asked
from bench.drift.streams import Make, Stream
from millrace.events.learn import DriftDetected, OffsetRange, SignalsMeasured, TrainingRequested
from millrace.testing import delivered
from millrace.topics import ANSWER_PRODUCED

TENANT = "bench"


class Order(msgspec.Struct, frozen=True):
    """Alarms of one order.

    Attributes
    ----------
    early : dict of str to int
        Alarms before the change, by signal.
    first : dict of str to int
        Questions from the change to the first alarm after it, by signal that raised one.
    n_requests : int
        Requests for training after the change.
    """

    seed: int
    n_before: int
    early: dict[str, int]
    first: dict[str, int]
    n_requests: int

    @property
    def noticed(self) -> int | None:
        """Questions until any signal raised an alarm; None if none did."""
        return min(self.first.values(), default=None)


class Found(msgspec.Struct, frozen=True):
    """Alarms of all orders of a stream."""

    name: str
    orders: list[Order]

    @property
    def n_silent(self) -> int:
        """Orders without an alarm before the change."""
        return sum(not order.early for order in self.orders)

    @property
    def median(self) -> float:
        """Questions until the change is noticed; infinite where it is not in half of the orders."""
        return middle(order.noticed for order in self.orders)


def middle(counts: Iterable[int | None]) -> float:
    """Median, with nothing found counting as infinitely late."""
    return float(np.median([float("inf") if count is None else count for count in counts]))


def listen(name: str, make: Make, answers: Answers, seeds: Sequence[int], policy: LearnPolicy) -> Found:
    """Let the agents watch some orders of a stream."""
    return Found(name, [_order(make(answers, random.Random(seed)), seed, policy) for seed in seeds])


def _order(stream: Stream, seed: int, policy: LearnPolicy) -> Order:
    ports, state = LearnPorts(policy), DriftState()
    early, first, n_requests = dict[str, int](), dict[str, int](), 0
    for i, asked in enumerate([*stream.before, *stream.after]):
        state, events = detect_drift(state, _event(i, asked), ports)
        since = i + 1 - len(stream.before)
        for event in events if isinstance(events, list) else ():
            if isinstance(event, DriftDetected) and since <= 0:
                early[event.signal] = early.get(event.signal, 0) + 1
            elif isinstance(event, DriftDetected):
                first.setdefault(event.signal, since)
            n_requests += isinstance(event, TrainingRequested) and since > 0
    return Order(seed, len(stream.before), early, first, n_requests)


def _event(i: int, asked: Asked) -> SignalsMeasured:
    position = OffsetRange(ANSWER_PRODUCED.name, 0, i, i + 1)
    event = SignalsMeasured(tenant=TENANT, conversation="c", correlation=str(i), values=asked.values, position=position)
    return delivered(event, id=str(i))
