"""The child process: ``python -m inference.injection.child LIMITS`` reads texts from its input, one after the other.

It gives up what a scanner has no use for before it sees the first text: memory, files to write, connections and other
processes. The time for a text is counted by the kernel, whose signal ends the process wherever it is: a search that
backtracks for ever never comes back to the interpreter.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from io import BufferedReader, BufferedWriter
from typing import Any

import msgspec

from inference.injection.frames import LENGTH, READY
from inference.injection.limits import ScannerLimits
from millrace.confined.rights import give_up_rights, private_output
from millrace.findings import Scan

_START_CPU_S = 120.0


def main(arguments: list[str]) -> int:
    """Load the rules, and scan until the input ends."""
    limits = msgspec.json.decode(arguments[0], type=ScannerLimits)
    replies = private_output()
    give_up_rights(limits.memory_bytes)
    signal.setitimer(signal.ITIMER_PROF, _START_CPU_S)
    from inference.injection.scanner import Scanner  # noqa: PLC0415 - loads the rules, with fewer rights

    scanner = Scanner()
    signal.setitimer(signal.ITIMER_PROF, 0)
    serve(sys.stdin.buffer, replies, scanner.scan, limits)
    return 0


def serve(
    requests: BufferedReader | Any,
    replies: BufferedWriter | Any,
    scan: Callable[[str], Scan],
    limits: ScannerLimits,
) -> None:
    """Answer texts one by one."""
    replies.write(READY)
    replies.flush()
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        text = requests.read(LENGTH.unpack(head)[0]).decode("utf-8", "surrogatepass")
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)
        reply = msgspec.msgpack.encode(scan(text))
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(LENGTH.pack(len(reply)))
        replies.write(reply)
        replies.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
