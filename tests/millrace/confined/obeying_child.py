"""A confined process that does what each line of its input says, and replies with a line of how that went."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from millrace.confined.rights import give_up_rights, private_output


class Limits(msgspec.Struct):
    memory_bytes: int


def _take(n_bytes: str) -> None:
    bytearray(int(n_bytes))


def _write(path: str) -> None:
    Path(path).write_text("x", encoding="ascii")


def _fill(_: str) -> None:
    os.write(os.memfd_create("nowhere"), b"x")


def _remove(path: str) -> None:
    Path(path).unlink()


def _connect(port: str) -> None:
    socket.create_connection(("127.0.0.1", int(port)))


def _run(program: str) -> None:
    subprocess.run([program], check=True)


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a library that talks
    os.write(1, text.encode())


_ACTIONS: dict[str, Callable[[str], str | None]] = {
    "take": _take,
    "write": _write,
    "fill": _fill,
    "remove": _remove,
    "connect": _connect,
    "run": _run,
    "print": _print,
    "environment": lambda _: " ".join(sorted(os.environ)),
    "folder": lambda _: str(Path.cwd()),
    "session": lambda _: str(os.getsid(0)),
    "bytecode": lambda _: str(sys.dont_write_bytecode),
}


def main() -> None:
    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    replies = private_output()
    give_up_rights(limits.memory_bytes)
    replies.write(b"ready")
    replies.flush()
    for line in sys.stdin:
        what, _, argument = line.rstrip("\n").partition(" ")
        try:
            reply = _ACTIONS[what](argument) or "done"
        except (OSError, MemoryError) as error:
            reply = type(error).__name__
        replies.write(f"{reply}\n".encode())
        replies.flush()


if __name__ == "__main__":
    main()
