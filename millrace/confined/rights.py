"""What a child process gives up before it reads what may be hostile. Runs in the child, and loads next to nothing."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path


def private_output() -> BufferedWriter:
    """Standard output for replies alone: what a library prints from now on goes to standard error."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


def give_up_rights(memory_bytes: int) -> None:
    """Bound what this process may use and do, for good.

    Parameters
    ----------
    memory_bytes : int
        Address space that it may take.
    """
    sys.dont_write_bytecode = True
    os.nice(5)  # questions come first
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
