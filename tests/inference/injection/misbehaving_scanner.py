"""A child process whose scanner does what the text says, for tests of the pool."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import msgspec

from inference.injection.child import serve
from inference.injection.limits import ScannerLimits
from millrace.confined.rights import give_up_rights
from millrace.findings import Finding, Scan


def scan(text: str) -> Scan:
    what, _, argument = text.partition(" ")
    if what == "backtrack":
        re.match(r"(a|aa)+$", "a" * 60 + "b")
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "wait":
        signal.pause()
    elif what == "hold":
        Path(argument).read_text(encoding="ascii")
    return Scan(findings=(Finding("injection", "seen", 0, min(1, len(text)), 0.5),), score=0.5, flagged=True)


if __name__ == "__main__":
    limits = msgspec.json.decode(sys.argv[1], type=ScannerLimits)
    give_up_rights(limits.memory_bytes)
    serve(sys.stdin.buffer, sys.stdout.buffer, scan, limits)
