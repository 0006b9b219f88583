"""A change is noticed and requested for once, and nothing is counted twice."""

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
import pytest

from agents.learn.drift import DriftState, detect_drift
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from millrace.agent import spec_of
from millrace.event import Event, Origin
from millrace.events.learn import DriftDetected, DriftScored, OffsetRange, SignalsMeasured, TrainingRequested
from millrace.testing import delivered, run
from millrace.topics import ANSWER_PRODUCED, FEEDBACK_GIVEN, SIGNALS_MEASURED

E = TypeVar("E", bound=Event)
SHIFT = 400
"""Answers before the change."""


def answers(n: int, seed: int = 0, shift: int = SHIFT, step: float = 12.0) -> Iterator[SignalsMeasured]:
    """Answers in bursts of subjects that differ a little, whose scores fall at a place and stay there."""
    rng = random.Random(seed)
    subject = 0.0
    for i in range(n):
        if i % 20 == 0:
            subject = rng.gauss(0, 1.5)
        lower = step if i >= shift else 0.0
        lexical = rng.gauss(24 + subject - lower, 8)
        values = {
            "lexical_top1": lexical,
            "score_gap": rng.gauss(0.7 - lower / 30, 0.15),
            "confidence": rng.gauss(1, 0.2),
        }
        yield measured(i, values)


def measured(i: int, values: dict[str, float], topic: str = ANSWER_PRODUCED.name) -> SignalsMeasured:
    """A record of every second place of two partitions: those between are other tenants'."""
    position = OffsetRange(topic, i % 2, i, i + 1)
    event = SignalsMeasured(tenant="acme", conversation=f"c{i}", correlation=str(i), values=values, position=position)
    return delivered(event, id=f"{topic}:{i}", origin=Origin(SIGNALS_MEASURED.name, 0, i))


def watch(
    events: Iterable[SignalsMeasured], policy: LearnPolicy | None = None, state: DriftState | None = None
) -> tuple[DriftState, list[list[Event]]]:
    """State and outputs per input; the state goes through its codec each time, as it does in a table."""
    state, outputs = state or DriftState(), list[list[Event]]()
    ports = LearnPorts(policy or LearnPolicy())
    for event in events:
        state, made = detect_drift(state, event, ports)
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=DriftState)
        outputs.append([] if made is None or isinstance(made, Event) else list(made))
    return state, outputs


def of(outputs: list[list[Event]], kind: type[E]) -> list[tuple[int, E]]:
    return [(i, event) for i, made in enumerate(outputs) for event in made if isinstance(event, kind)]


def test_a_change_is_requested_for_once_though_several_signals_see_it() -> None:
    _, outputs = watch(answers(900))
    detected, requested = of(outputs, DriftDetected), of(outputs, TrainingRequested)
    assert {event.signal for _, event in detected} == {"lexical_top1", "score_gap"}
    assert all(i >= SHIFT for i, _ in detected)
    ((at, request),) = requested
    assert at == detected[0][0] <= SHIFT + 100
    assert request.reason == "drift"
    assert request.model == "reader"


def test_without_its_refractory_period_a_change_is_requested_for_more_than_once() -> None:
    """Control."""
    _, outputs = watch(answers(900), LearnPolicy(drift_refractory=-(10**6)))
    assert len(of(outputs, TrainingRequested)) > 1


def test_a_later_change_is_requested_for_again() -> None:
    values = [*answers(900)]
    back = [measured(900 + i, dict(event.values)) for i, event in enumerate(answers(300, seed=7, shift=300))]
    _, outputs = watch([*values, *back])
    (first, _), (second, _) = of(outputs, TrainingRequested)
    assert first < 900 <= second


def test_the_ranges_begin_at_the_change_and_end_with_the_record_that_showed_it() -> None:
    _, outputs = watch(answers(900))
    ((at, request),) = of(outputs, TrainingRequested)
    assert {each.topic for each in request.ranges} == {ANSWER_PRODUCED.name}
    assert [each.partition for each in request.ranges] == [0, 1]
    assert max(each.stop for each in request.ranges) == at + 1
    assert all(abs(each.start - SHIFT) <= 40 for each in request.ranges)
    assert of(outputs, DriftDetected)[0][1].ranges == request.ranges


def test_the_request_names_the_detection_by_its_id() -> None:
    made = run(spec_of(detect_drift), answers(600), LearnPorts(LearnPolicy()))
    (request,) = [event for event in made if isinstance(event, TrainingRequested)]
    causes = {event.meta.id for event in made if isinstance(event, DriftDetected)}
    assert request.cause in causes


@pytest.mark.parametrize("seed", range(10))
def test_traffic_in_bursts_of_subjects_raises_no_alarm(seed: int) -> None:
    _, outputs = watch(answers(1000, seed, shift=1000))
    assert not of(outputs, DriftDetected)


def test_feedback_that_turns_is_a_change() -> None:
    rng = random.Random(3)
    told = [1.0 if rng.random() < (0.8 if i < 150 else 0.2) else -1.0 for i in range(300)]
    state, outputs = watch(measured(i, {"feedback": value}, FEEDBACK_GIVEN.name) for i, value in enumerate(told))
    assert {event.signal for _, event in of(outputs, DriftDetected)} == {"feedback"}
    ((at, request),) = of(outputs, TrainingRequested)
    assert 150 < at < 250
    assert {each.topic for each in request.ranges} == {FEEDBACK_GIVEN.name}
    assert state.signals["feedback"].window.n_seen == 300


def test_windows_tell_people_where_a_signal_stands() -> None:
    values = [*answers(120)]
    _, outputs = watch(values)
    windows = [event for _, event in of(outputs, DriftScored) if event.signal == "lexical_top1"]
    assert [(event.window, event.n) for event in windows] == [(0, 50), (1, 50)]
    second = [event.values["lexical_top1"] for event in values[50:100]]
    mean = sum(second) / 50
    assert windows[1].mean == pytest.approx(mean)
    assert windows[1].deviation == pytest.approx((sum((value - mean) ** 2 for value in second) / 50) ** 0.5)
    assert 0 < windows[1].statistic < windows[1].threshold


def test_records_that_come_again_change_nothing() -> None:
    events = [*answers(900)]
    rng = random.Random(5)
    repeated: list[SignalsMeasured] = []
    for i, event in enumerate(events):
        repeated += [event] * rng.choice([1, 1, 1, 2, 5])
        if i % 200 == 199:
            repeated += events[i - 150 : i]  # what a crash delivers again
    state, outputs = watch(events)
    again, more = watch(repeated)
    assert again == state
    assert [event for made in more for event in made] == [event for made in outputs for event in made]


def test_an_answer_that_was_written_twice_counts_once_though_a_crash_delivers_both_again() -> None:
    events = [*answers(700)]
    twice = [msgspec.structs.replace(event.position, topic="again") for event in events]
    copies = [
        delivered(event.replace(position=position), id=f"copy:{i}", causation_id=event.meta.id)
        for i, (event, position) in enumerate(zip(events, twice, strict=True))
    ]
    state, outputs = watch(events)
    mixed = [each for pair in zip(events, copies, strict=True) for each in pair]
    again, more = watch([*mixed[:600], *mixed[:1200], *mixed[1100:]])
    assert again.n_records == state.n_records
    assert again.signals == state.signals
    assert sum(map(len, more)) == sum(map(len, outputs))


def test_records_that_overtake_others_are_all_counted() -> None:
    events = [*answers(600)]
    rng = random.Random(6)
    mixed = sorted(events, key=lambda event: event.position.start + rng.uniform(0, 200))
    state, _ = watch(mixed)
    assert state.n_records == 600
    assert state.signals["confidence"].window.n_seen == 600


def test_it_goes_on_from_its_state_as_if_it_had_not_been_interrupted() -> None:
    events = [*answers(700)]
    whole, outputs = watch(events)
    half, first = watch(events[:410])
    assert (whole, outputs) == ((resumed := watch(events[410:], state=half))[0], first + resumed[1])


def test_the_state_is_small() -> None:
    state, _ = watch(answers(3000, shift=9999))
    assert len(msgspec.msgpack.encode(state)) < 16_000


@pytest.mark.parametrize(
    "setting",
    [{"drift_delta": 1}, {"drift_clock": 0}, {"drift_window": 0}, {"drift_lexical_span": 0}, {"drift_trains": "x"}],
)
def test_a_setting_that_would_end_in_an_error_later_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(setting, LearnPolicy)


def test_signals_of_a_later_release_are_left_out() -> None:
    state, outputs = watch([measured(0, {"warmth": 1.0, "confidence": 1.0})])
    assert state.signals.keys() == {"confidence"}
    assert outputs == [[]]


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_does_not_blind_a_detector(nonsense: float) -> None:
    values = [nonsense if i == 5 else 1.0 if i < 200 else 0.0 for i in range(400)]
    state, outputs = watch(measured(i, {"confidence": value}) for i, value in enumerate(values))
    assert {event.signal for _, event in of(outputs, DriftDetected)} == {"confidence"}
    assert state.signals["confidence"].window.n_seen == 399


@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_seldom_feedback_sees_late_is_the_one_that_was_requested_for(seed: int) -> None:
    rng = random.Random(seed)
    records = []
    for i in range(4000):
        changed = i >= 2000
        if i % 40 == 39:
            told = 1.0 if rng.random() < (0.1 if changed else 0.95) else -1.0
            records.append(measured(i, {"feedback": told}, FEEDBACK_GIVEN.name))
        else:
            records.append(measured(i, {"lexical_top1": rng.gauss(12 if changed else 24, 6)}))
    _, outputs = watch(records)
    seen = [event for _, event in of(outputs, DriftDetected) if event.signal == "feedback"]
    assert any(event.n_since * 40 > 1000 for event in seen), "further back than places are kept"
    assert len(of(outputs, TrainingRequested)) == 1
