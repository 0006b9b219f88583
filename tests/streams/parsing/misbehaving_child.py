"""A child process whose reader of JSON Lines does what the document says, for tests of the pool."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from streams.parsing import child, reading
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits

MEDIA_TYPE = "application/jsonl"


def read(data: bytes, limits: ParserLimits) -> Draft:
    what, _, argument = data.decode().partition(" ")
    draft = Draft(limits)
    draft.write(_ACTIONS[what](argument) or "done")
    return draft


def _sleep(_: str) -> None:
    signal.pause()


def _spin(_: str) -> None:
    while True:
        pass


def _take(n_bytes: str) -> None:
    bytearray(int(n_bytes))


def _die(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for(fifo: str) -> str:
    return Path(fifo).read_text(encoding="ascii")


def _connect(port: str) -> None:
    socket.create_connection(("127.0.0.1", int(port)))


def _write(path: str) -> None:
    Path(path).write_text("x", encoding="ascii")


def _start(program: str) -> None:
    subprocess.run([program], check=True)


def _recurse(_: str) -> None:
    _recurse(_)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a library that talks
    os.write(1, text.encode())


def _environment(_: str) -> str:
    return " ".join(sorted(os.environ))


_ACTIONS: dict[str, Callable[[str], str | None]] = {
    "sleep": _sleep,
    "spin": _spin,
    "take": _take,
    "die": _die,
    "wait_for": _wait_for,
    "connect": _connect,
    "write": _write,
    "start": _start,
    "recurse": _recurse,
    "print": _print,
    "environment": _environment,
    "write_much": lambda n: "x" * int(n),
    "fine": lambda text: text,
    "half": lambda _: "\ud800",
}

if __name__ == "__main__":
    sys.modules["streams.parsing.misbehaving"] = sys.modules["__main__"]
    reading.READERS[MEDIA_TYPE] = "misbehaving"
    sys.exit(child.main(sys.argv[1:]))
