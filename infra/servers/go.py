"""Go, and what it builds for us."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.servers.cache import cached
from millrace.errors import ConfigurationError

_BUILD_LIMIT_S: Final = 3600
_SAID_EVERY: Final = 200
_REASON_LINES: Final = 6
_INSTEAD: Final = "use --profile embedded"


def find_go(go: str = "go", at_least: tuple[int, int] = (1, 26), instead: str = _INSTEAD) -> str:
    """Path of a Go that is new enough.

    Parameters
    ----------
    go : str
        Name or path of the program.
    at_least : tuple of int
        Major and minor version needed.
    instead : str
        What to do for want of it, for messages.

    Raises
    ------
    ConfigurationError
        There is none, or it is too old.
    """
    wanted = ".".join(map(str, at_least))
    path = shutil.which(go)
    remedy = f"install Go from the packages of your system or from its makers, or {instead}"
    if path is None:
        raise ConfigurationError(f"Go {wanted} not found ({go!r}): {remedy}")
    run = subprocess.run([path, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"\bgo(\d+)\.(\d+)", run.stdout)
    if found is None or (int(found[1]), int(found[2])) < at_least:
        version = f"{found[1]}.{found[2]}" if found else "unknown"
        raise ConfigurationError(f"Go {wanted} not found: {path} is version {version}; {remedy}")
    return path


def build_program(
    title: str,
    version: str,
    package: str,
    cache: Path,
    *,
    environment: Mapping[str, str],
    takes: str,
    go: str = "go",
    at_least: tuple[int, int] = (1, 26),
    instead: str = _INSTEAD,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Make sure that a program is in the cache folder, built from its module by Go.

    Parameters
    ----------
    title, version : str
        What people call it, and the version of its module without ``v``.
    package : str
        Import path of the program; Go's own configuration decides where it comes from.
    cache : Path
        Per-user cache folder of Millrace; created if missing.
    environment : mapping of str to str
        Environment of the build.
    takes : str
        How long a build takes, in words; said before it starts.
    go : str
        Name or path of Go, needed only when the program is not there yet.
    at_least : tuple of int
        Version of Go that the module needs.
    instead : str
        What to do for want of the program, for messages.
    progress : callable
        Receives a line before and after anything is built.

    Returns
    -------
    Path
        The program.

    Raises
    ------
    ConfigurationError
        Go is missing, too old, or could not build it.
    """
    name = f"{title.lower()}-{version}"

    def make(folder: Path) -> None:
        path = find_go(go, at_least, instead)
        progress(f"building {title} {version} with Go ({takes}, once) into {cache / name}")
        command = [path, "install", "-v", "-trimpath", "-ldflags=-s -w", f"{package}@v{version}"]
        # The server needs no C; without it the same program runs on every Linux.
        variables = {**environment, "CGO_ENABLED": "0", "GOBIN": str(folder)}
        code, said = _build(command, cache, variables, lambda done: progress(f"building {title}: {done}"))
        if code is None:
            raise ConfigurationError(
                f"Go did not build {title} {version} within {_BUILD_LIMIT_S} s; try again on a less busy machine, "
                f"or {instead}"
            )
        if code or not (folder / Path(package).name).is_file():
            reason = "\n".join(said)
            raise ConfigurationError(
                f"Go could not build {title} {version}:\n{reason}\n"
                f"check the network, the disk and `go env GOPROXY`, or {instead}"
            )
        progress(f"{title} {version} is ready")

    return cached(cache, name, make) / Path(package).name


def _build(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], progress: Callable[[str], None]
) -> tuple[int | None, Sequence[str]]:
    """Exit code of a build that tells its packages, and the end of what it said; without a code it took too long."""
    said: deque[str] = deque(maxlen=_REASON_LINES)
    counts = Counter[str]()
    overdue = threading.Event()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment
    ) as build:

        def give_up() -> None:
            overdue.set()
            build.kill()

        limit = threading.Timer(_BUILD_LIMIT_S, give_up)
        limit.start()
        try:
            for line in build.stdout or ():
                said.append(line.rstrip())
                what = "modules fetched" if line.startswith("go: downloading") else "packages compiled"
                counts[what] += 1
                if counts[what] % _SAID_EVERY == 0:
                    progress(f"{counts[what]} {what}")
        except BaseException:
            build.kill()
            raise
        finally:
            limit.cancel()
    return None if overdue.is_set() else build.returncode, said
