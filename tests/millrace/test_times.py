"""Laws about times as text."""

import pytest

from millrace.times import iso, now


@pytest.mark.parametrize(
    ("at_ms", "milliseconds", "seconds"),
    [
        (1_780_000_000_123, "2026-05-28T20:26:40.123Z", "2026-05-28T20:26:40Z"),
        (1_780_000_000_999, "2026-05-28T20:26:40.999Z", "2026-05-28T20:26:40Z"),
        (0, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z"),
        (-1, "", ""),
    ],
)
def test_a_time_is_utc_and_cut_to_its_precision(at_ms: int, milliseconds: str, seconds: str) -> None:
    assert iso(at_ms) == milliseconds
    assert iso(at_ms, "seconds") == seconds


def test_the_time_is_told_to_the_second() -> None:
    assert len(now()) == len("2026-05-28T20:26:40Z")
    assert now().endswith("Z")
