"""What a child process gives up before it reads what may be hostile. Runs in the child, and loads next to nothing."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final

_FORBIDDEN: Final = frozenset({
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
    "subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.remove",
    "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.symlink", "os.link", "os.truncate", "shutil.rmtree",
    "ctypes.dlopen.remote", "webbrowser.open", "ftplib.connect", "http.client.connect", "urllib.Request",
})  # fmt: skip
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def private_output() -> BufferedWriter:
    """Standard output for replies alone: what a library prints from now on goes to standard error."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return replies


def give_up_rights(memory_bytes: int) -> None:
    """Bound what this process may use and do, for good: it connects to nothing, writes no file and starts no program.

    The kernel bounds what it uses. An audit hook refuses what Python code tries as well, because the kernel's bounds do
    not forbid to connect or to remove a file, and the one on processes does not hold for root.

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
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        if isinstance(arguments[2], int) and arguments[2] & _WRITES:
            raise PermissionError("a confined process writes no files")
    elif event in _FORBIDDEN:
        raise PermissionError(f"a confined process has no use for {event}")
