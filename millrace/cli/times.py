"""Positions as people write them: ``beginning``, ``end``, a time, an age."""

import datetime as dt
import re
import time

from millrace.cli.output import UsageError
from millrace.positions import Since, Start

_AGE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def start_of(text: str) -> Start:
    """Position that a text names.

    Raises
    ------
    UsageError
        It names none.
    """
    if text == "beginning":
        return "beginning"
    if text == "end":
        return "end"
    if match := _AGE.fullmatch(text):
        return Since(int((time.time() - float(match[1]) * _SECONDS[match[2]]) * 1000))
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no position; use beginning, end, an age (90s, 15m, 2h, 1d) or a time (2026-01-31T12:00)"
        ) from error
    return Since(int(when.astimezone(dt.UTC).timestamp() * 1000))
