"""Logs of workers, gateway and launcher: to standard error, as text or JSON, and never with a secret in them.

The formatter masks, because everything passes through it: messages, their arguments, tracebacks, what libraries log.
A message stays on its line, so that no text that somebody sent can pass for a record of its own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, TextIO

from infra.log_repeats import Repeats
from infra.redaction import Redaction, personal_data, secrets_of
from infra.settings import Settings

log = logging.getLogger(__name__)

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_QUIET: Final = ("aiokafka", "httpx", "mcp", "urllib3", "uvicorn.error")


def start_logs(
    settings: Settings, *, trace_id: Callable[[], str] | None = None, out: TextIO | None = None
) -> Redaction:
    """Log to standard error as the settings say; gives what masks, which others use as well.

    Parameters
    ----------
    settings : Settings
        How, and which secrets there are.
    trace_id : callable, optional
        Trace that is active now, or an empty text; it stands in JSON logs.
    out : text stream, optional
        Instead of standard error.
    """
    redaction = Redaction(secrets_of(settings), personal_data())
    handler = logging.StreamHandler(out or sys.stderr)
    handler.setFormatter(formatter(settings.logs.format, redaction, trace_id or (lambda: "")))
    handler.addFilter(Repeats())
    logging.basicConfig(level=settings.logs.level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    return redaction


def formatter(kind: str, redact: Callable[[str], str], trace_id: Callable[[], str] = lambda: "") -> logging.Formatter:
    """Formatter of a kind, ``text`` or ``json``."""
    return JsonFormatter(redact, trace_id) if kind == "json" else TextFormatter(redact)


class TextFormatter(logging.Formatter):
    """A line for people; a traceback follows indented.

    Parameters
    ----------
    redact : callable
        Masks what must not be written.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """See `logging.Formatter`."""
        record.message = _one_line(self._redact(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - the library's name
        """See `logging.Formatter`."""
        return _indented(self._redact(super().formatException(ei)))  # type: ignore[arg-type] # typeshed has a private alias

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the library's name
        """See `logging.Formatter`."""
        return _indented(self._redact(stack_info))

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`; what another handler has made of the exception is not taken over."""
        record.exc_text = None
        text = super().format(record)
        record.exc_text = None
        return text


class JsonFormatter(logging.Formatter):
    """An object a line: ``time``, ``level``, ``logger``, ``message``, and where there are some ``trace``, ``error``.

    Parameters
    ----------
    redact : callable
        Masks what must not be written.
    trace_id : callable
        Trace that is active now, or an empty text.
    """

    def __init__(self, redact: Callable[[str], str], trace_id: Callable[[], str]) -> None:
        super().__init__()
        self._redact = redact
        self._trace_id = trace_id

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if trace_id := self._trace_id():
            found["trace"] = trace_id
        if record.exc_info and record.exc_info[0] is not None:
            found["error"] = record.exc_info[0].__name__
            found["traceback"] = self._redact(self.formatException(record.exc_info))
        if record.stack_info:
            found["stack"] = self._redact(record.stack_info)
        return json.dumps(found, ensure_ascii=False)


def _one_line(text: str) -> str:
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\n", "\\n"))


def _indented(text: str) -> str:
    return "\n".join(f"  {_CONTROL.sub('', line)}" for line in text.split("\n"))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the process ends", exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        log.error("a thread ended", exc_info=(found.exc_type, found.exc_value, found.exc_traceback))
