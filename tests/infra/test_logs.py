"""Logs: no secret in a message, an argument or a traceback, and no message that passes for a record of its own."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.logs import formatter, start_logs
from infra.redaction import MASK, Redaction
from infra.settings import Settings

SECRET = "kafka-key-4711"  # noqa: S105 - seeded
log = logging.getLogger("tests.logs")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where the logs of `start_logs` go; afterwards everything is as before."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    try:
        yield io.StringIO()
    finally:
        root.handlers[:], root.level = handlers, level
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(capture=False)


def start(out: io.StringIO, tmp_path: Path, **logs: Any) -> Redaction:
    settings = Settings(home=tmp_path, profile="kafka", kafka={"sasl_password": SecretStr(SECRET)}, logs=logs)
    return start_logs(settings, trace_id=lambda: "0af7", out=out)


def fail() -> None:
    raise ConnectionError(f"cannot log in with {SECRET}")


def say_everything() -> None:
    """Log a secret in each way that there is."""
    log.info("message with %s", SECRET)
    log.info("as part of %r", {"sasl_plain_password": SECRET})
    try:
        try:
            fail()
        except ConnectionError as error:
            raise RuntimeError(f"again: {SECRET}") from error
    except RuntimeError:
        log.exception("it failed")
    log.warning("where", stack_info=True)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    sys.excepthook(*_caught())
    logging.getLogger("a.library").error("told by others: https://user:%s@host", SECRET)


def _caught() -> Any:
    try:
        fail()
    except ConnectionError:
        return sys.exc_info()


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_secret_stands_in_no_log(kind: str, out: io.StringIO, tmp_path: Path) -> None:
    start(out, tmp_path, format=kind)
    say_everything()
    written = out.getvalue()
    assert SECRET not in written
    assert written.count(MASK) >= 7
    assert "ConnectionError" in written
    assert "RuntimeError" in written


def test_without_the_filter_the_same_words_would_have_told_it() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter("text", str))
    log.addHandler(handler)
    try:
        log.info("message with %s", SECRET)
        log.warning("message with %s", SECRET)
    finally:
        log.removeHandler(handler)
    assert SECRET in out.getvalue()


def test_a_message_stays_on_its_line_and_a_traceback_is_indented(out: io.StringIO, tmp_path: Path) -> None:
    start(out, tmp_path)
    log.error("first\n2026-01-01 00:00:00,000 INFO worker: ready\x1b[31m\r\nlast")
    try:
        raise ValueError("one\n2026-01-01 00:00:00,000 INFO worker: ready")
    except ValueError:
        log.exception("failed")
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("20")]) == 2
    assert "\x1b" not in out.getvalue()


def test_json_logs_are_an_object_a_line_with_the_trace_and_the_error(out: io.StringIO, tmp_path: Path) -> None:
    start(out, tmp_path, format="json")
    log.info("hello %s", "world\n!")
    try:
        fail()
    except ConnectionError:
        log.exception("failed")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["message"], first["level"], first["logger"], first["trace"]) == (
        "hello world\n!", "INFO", "tests.logs", "0af7",
    )  # fmt: skip
    assert second["error"] == "ConnectionError"
    assert "cannot log in with" in second["traceback"]


def test_the_level_is_set_and_a_secret_found_after_the_start_is_masked_too(out: io.StringIO, tmp_path: Path) -> None:
    redaction = start(out, tmp_path, level="WARNING")
    log.info("not said")
    redaction.add("drawn-by-the-launcher")
    log.warning("key %s", "drawn-by-the-launcher")
    assert "not said" not in out.getvalue()
    assert f"key {MASK}" in out.getvalue()
