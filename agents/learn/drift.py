"""Notice that a tenant's traffic has changed, and ask once for each change that a model learns from what came since.

Delivery: at least once; what a record says is counted once, whether it is delivered, measured or written twice. State
and outputs are functions of the sequence of records, so a worker that goes on where another ended says the same.

A signal is watched by a detector of its own (`agents.learn.adwin`), because a change of subject need not show in all of
them. Several detectors raise several false alarms, so each has its share of the probability that is allowed to one
tenant. Several also see one change, one after the other and some of them twice: what began before a request, or soon
after it, is the change that was requested for. Feedback costs a click, so little of it counts for one conversation
(`agents.learn.voices`).
"""

import math
from collections.abc import Iterator, Mapping

import msgspec
from millrace.agent import Outputs, agent
from millrace.event import Event
from millrace.events.learn import DriftDetected, DriftScored, SignalsMeasured, TrainingRequested
from millrace.ids import output_id
from millrace.topics import DRIFT_DETECTED, DRIFT_SCORED, SIGNALS_MEASURED, TRAINING_REQUESTED

from agents.learn import adwin
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from agents.learn.positions import Counted, Stretch, noted, place_of, remembered, since
from agents.learn.signals import FEEDBACK, LEXICAL_TOP1, SIGNALS
from agents.learn.voices import heard

NAME = "detect_drift"


class Watched(msgspec.Struct, frozen=True):
    """A signal of a tenant.

    Attributes
    ----------
    window : Window
        What the detector holds.
    n, mean, squares : int, float, float
        Values of the window for people being filled, their mean, and the sum of their squared distances to it.
    n_windows : int
        Windows that were filled.
    """

    window: adwin.Window = adwin.Window()
    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    n_windows: int = 0


class DriftState(msgspec.Struct, frozen=True):
    """What is known of a tenant's traffic.

    Attributes
    ----------
    signals : dict of str to Watched
        By name.
    counted : dict of str to Counted
        Which records were counted, by ``topic/partition``.
    remembered : bytes
        Digests of the last events that were measured.
    stretches : tuple of Stretch
        Where the last records stand, oldest first.
    n_records : int
        Records counted.
    requested_at : int
        How many there were at the last request for training; -1 before the first.
    voices : bytes
        What the feedback that counted last was about.
    """

    signals: dict[str, Watched] = {}
    counted: dict[str, Counted] = {}
    remembered: bytes = b""
    stretches: tuple[Stretch, ...] = ()
    n_records: int = 0
    requested_at: int = -1
    voices: bytes = b""


@agent(source=SIGNALS_MEASURED, sinks=(DRIFT_SCORED, DRIFT_DETECTED, TRAINING_REQUESTED), state=DriftState, name=NAME)
def detect_drift(state: DriftState, event: SignalsMeasured, ports: LearnPorts) -> tuple[DriftState, Outputs]:
    """Feed each signal's detector, close windows that are full, and ask for training where something changed."""
    placed = _placed(state, event)
    if placed is None or placed.remembered == state.remembered:
        return placed or state, None
    policy, events = ports.policy, list[Event]()
    fresh, values = _counted(placed, event, policy)
    signals, requested_at = dict(fresh.signals), fresh.requested_at
    for name, value in _known(values):
        delta, span = _bounds(name, policy)
        watched = signals.get(name, Watched())
        window, cut = adwin.step(watched.window, value, delta=delta, span=span, clock=policy.drift_clock)
        signals[name], full = _filled(msgspec.structs.replace(watched, window=window), value, policy.drift_window)
        if full:
            events.append(_scored(event, name, full, policy))
        if cut is None:
            continue
        n_since, ranges = since(fresh.stretches, name, cut.n_since)
        detected = _detected(event, name, window, cut).replace(ranges=ranges)
        events.append(detected)
        if requested_at < 0 or fresh.n_records - n_since > requested_at + policy.drift_refractory:
            requested_at = fresh.n_records
            events.append(_request(event, detected, policy))
    return msgspec.structs.replace(fresh, signals=signals, requested_at=requested_at), events


def _placed(state: DriftState, event: SignalsMeasured) -> DriftState | None:
    """The state that knows of one more record; None for one that it knew, with only its place for one written again."""
    position, meta = event.position, event.meta
    place = place_of(position)
    counted = state.counted.get(place, Counted())
    if counted.knows(position.start):
        return None
    state = msgspec.structs.replace(state, counted={**state.counted, place: counted.after(position.start)})
    digests = remembered(state.remembered, meta.causation_id or meta.id)
    return state if digests is None else msgspec.structs.replace(state, remembered=digests)


def _counted(state: DriftState, event: SignalsMeasured, policy: LearnPolicy) -> tuple[DriftState, Mapping[str, float]]:
    """The state with one more record, and what of it counts; the same where nothing does."""
    values, voices = dict(event.values), state.voices
    if FEEDBACK in values:
        found = heard(voices, event.conversation, event.correlation, policy)
        if found is None:
            del values[FEEDBACK]
        voices = voices if found is None else found
    if not values:
        return state, values
    stretches = noted(state.stretches, event.position, values)
    n_records = state.n_records + 1
    return msgspec.structs.replace(state, voices=voices, stretches=stretches, n_records=n_records), values


def _known(values: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Values in an order that does not depend on that of a mapping.

    Those of a later release's signals are left out, and what is no number: one of it would blind a detector for good.
    """
    return ((name, values[name]) for name in SIGNALS if math.isfinite(values.get(name, math.nan)))


def _bounds(name: str, policy: LearnPolicy) -> tuple[float, float]:
    """Share of a signal in the probability of a false alarm, and the span of its values."""
    return policy.drift_delta / len(SIGNALS), {LEXICAL_TOP1: policy.drift_lexical_span, FEEDBACK: 2.0}.get(name, 1.0)


def _filled(watched: Watched, value: float, size: int) -> tuple[Watched, Watched | None]:
    """The signal with one more value; and as it was at the end of a window for people, if that is full now."""
    n = watched.n + 1
    mean = watched.mean + (value - watched.mean) / n
    squares = watched.squares + (value - watched.mean) * (value - mean)
    full = msgspec.structs.replace(watched, n=n, mean=mean, squares=squares)
    if n < size:
        return full, None
    return msgspec.structs.replace(watched, n=0, mean=0.0, squares=0.0, n_windows=watched.n_windows + 1), full


def _scored(event: SignalsMeasured, name: str, full: Watched, policy: LearnPolicy) -> DriftScored:
    cut = adwin.strongest(full.window, *_bounds(name, policy))
    return DriftScored(
        tenant=event.tenant,
        signal=name,
        window=full.n_windows,
        n=full.n,
        mean=full.mean,
        deviation=(full.squares / full.n) ** 0.5,
        reference_mean=full.window.mean,
        statistic=cut.difference if cut else 0.0,
        threshold=cut.threshold if cut else 0.0,
    )


def _detected(event: SignalsMeasured, name: str, window: adwin.Window, cut: adwin.Cut) -> DriftDetected:
    return DriftDetected(
        tenant=event.tenant,
        signal=name,
        n_seen=window.n_seen,
        n_since=cut.n_since,
        before=cut.before,
        after=cut.since,
        statistic=cut.difference,
        threshold=cut.threshold,
    )


def _request(event: SignalsMeasured, detected: DriftDetected, policy: LearnPolicy) -> TrainingRequested:
    return TrainingRequested(
        tenant=event.tenant,
        model=policy.drift_trains,
        base="",
        reason="drift",
        cause=output_id(event.meta.id, NAME, DriftDetected.type_name(), detected.slot()),
        ranges=detected.ranges,
    )
