from dataclasses import dataclass

from inference.triton.breaker import Breaker


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, open_s=0.5, max_open_s=2.0, clock=clock)


def test_it_opens_after_failures_in_a_row() -> None:
    tested = breaker(Clock())
    for _ in range(5):
        tested.failed("gone")
        tested.failed("gone")
        tested.succeeded()
    assert tested.ask() == "pass"
    for _ in range(3):
        tested.failed("gone for good")
    assert tested.ask() == "refuse"
    assert (tested.closed, tested.reason, tested.retry_s) == (False, "gone for good", 0.5)


def test_after_its_time_one_caller_probes_and_the_others_are_refused() -> None:
    clock = Clock()
    tested = breaker(clock)
    tested.open("dead")
    clock.now += 0.4
    assert tested.ask() == "refuse"
    clock.now += 0.2
    assert [tested.ask() for _ in range(3)] == ["probe", "refuse", "refuse"]
    tested.succeeded()
    assert (tested.ask(), tested.closed) == ("pass", True)


def test_each_failed_probe_doubles_the_wait_up_to_a_bound() -> None:
    clock = Clock()
    tested = breaker(clock)
    tested.open("dead")
    waits = []
    for _ in range(4):
        waits.append(tested.retry_s)
        clock.now += tested.retry_s
        assert tested.ask() == "probe"
        tested.open("still dead")
    assert waits == [0.5, 1.0, 2.0, 2.0]
    clock.now += 2.0
    assert tested.ask() == "probe"
    tested.succeeded()
    tested.open("dead again")
    assert tested.retry_s == 0.5
