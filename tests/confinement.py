"""What is left to a process that gave up its rights, as seen from outside."""

from __future__ import annotations

from pathlib import Path

import psutil

_LIMITS = {
    "memory": psutil.RLIMIT_AS,
    "core": psutil.RLIMIT_CORE,
    "file": psutil.RLIMIT_FSIZE,
    "processes": psutil.RLIMIT_NPROC,
}


def left_to(pid: int) -> dict[str, object]:
    process = psutil.Process(pid)
    limits: dict[str, object] = {name: process.rlimit(limit) for name, limit in _LIMITS.items()}
    oom_score = int(Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii"))
    return limits | {"nice": process.nice(), "oom_score": oom_score}


def confined_to(memory_bytes: int) -> dict[str, object]:
    """The same of a child of this process that keeps nothing but so much memory."""
    nothing = (0, 0)
    return {
        "memory": (memory_bytes, memory_bytes),
        "core": nothing,
        "file": nothing,
        "processes": nothing,
        "nice": min(psutil.Process().nice() + 5, 19),
        "oom_score": 500,
    }
