"""Times as people and programs read them: UTC, ISO 8601."""

import datetime as dt
import time
from typing import Literal


def iso(timestamp_ms: int, precision: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """Text of unix milliseconds; empty for none, which is a negative one.

    Examples
    --------
    >>> iso(1_780_000_000_123)
    '2026-05-28T20:26:40.123Z'
    >>> iso(1_780_000_000_123, "seconds")
    '2026-05-28T20:26:40Z'
    """
    if timestamp_ms < 0:
        return ""
    return dt.datetime.fromtimestamp(timestamp_ms / 1000, dt.UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def now() -> str:
    """The time, to the second."""
    return iso(time.time_ns() // 1_000_000, "seconds")
