"""What a library says for ever is said a few times, then counted."""

import logging

import pytest

from infra.log_repeats import Repeats


class _Listening(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@pytest.fixture
def listening() -> _Listening:
    return _Listening()


def _say(listening: _Listening, name: str, text: str, *arguments: object, times: int = 1) -> None:
    log = logging.Logger(name)  # noqa: LOG001 - of no tree, so that nobody else hears it
    log.addHandler(listening)
    for _ in range(times):
        log.error(text, *arguments)


def test_the_first_few_pass_and_the_next_one_after_a_while_counts_the_rest(listening: _Listening) -> None:
    now = 0.0
    listening.addFilter(Repeats(most=3, window_s=60, clock=lambda: now))
    _say(listening, "aiokafka.conn", "no node %d, 100%% sure", 1, times=50)
    assert listening.heard == ["no node 1, 100% sure"] * 3
    now = 61.0
    _say(listening, "aiokafka.conn", "no node %d, 100%% sure", 2, times=2)
    assert listening.heard[3:] == [
        "no node 2, 100% sure (and 47 more like this since 61 s ago)",
        "no node 2, 100% sure",
    ]


def test_other_kinds_and_our_own_loggers_pass(listening: _Listening) -> None:
    listening.addFilter(Repeats(most=1))
    _say(listening, "aiokafka.conn", "no node")
    _say(listening, "aiokafka.conn", "no topic")
    _say(listening, "streams.pump", "given up", times=3)
    assert listening.heard == ["no node", "no topic", *["given up"] * 3]


def test_without_it_everything_is_said(listening: _Listening) -> None:
    """Control."""
    _say(listening, "aiokafka.conn", "no node", times=50)
    assert len(listening.heard) == 50
