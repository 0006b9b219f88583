"""Java, and what Maven fetches for it."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from infra.servers.cache import cached
from millrace.errors import ConfigurationError

_JAVA_AT_LEAST: Final = 17
_MAVEN_LIMIT_S: Final = 900


def find_java(java: str = "java") -> str:
    """Path of a Java 17 or newer.

    Parameters
    ----------
    java : str
        Name or path of the program.

    Raises
    ------
    ConfigurationError
        There is none, or it is too old.
    """
    path = shutil.which(java)
    remedy = "install openjdk-17-jre, name one by the setting kafka.java, or use --profile embedded"
    if path is None:
        raise ConfigurationError(f"Java {_JAVA_AT_LEAST} not found: {remedy}")
    run = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', run.stderr + run.stdout)
    if found is None or int(found[1]) < _JAVA_AT_LEAST:
        version = found[1] if found else "unknown"
        raise ConfigurationError(f"Java {_JAVA_AT_LEAST} not found: {path} is version {version}; {remedy}")
    return path


def java_command(java: str, heap_mb: int, *, busy: bool) -> list[str]:
    """Java with a bounded heap in MiB, for a server on a small machine; it ends when the heap does not suffice.

    One that is not `busy` compiles quickly rather than well: Apicurio starts with half the processor time.
    """
    command = [java, f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    return command if busy else [*command, "-XX:TieredStopAtLevel=1"]


def fetch_artefacts(
    title: str,
    version: str,
    pom: Path,
    cache: Path,
    *,
    size_mb: int,
    maven: str = "mvn",
    arguments: Sequence[str] = (),
    instead: str = "use --profile embedded",
    finish: Callable[[Path], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Make sure that the dependencies of a pom are in the cache folder.

    Parameters
    ----------
    title, version : str
        What people call it.
    pom : Path
        Names the artefacts; Maven's own configuration decides where they come from.
    cache : Path
        Per-user cache folder of Millrace; created if missing.
    size_mb : int
        About what will be fetched, in MB; said before it is.
    maven : str
        Name or path of Maven, needed only when the artefacts are not there yet.
    arguments : sequence of str
        Further arguments of ``dependency:copy-dependencies``.
    instead : str
        What to do for want of it, for messages.
    finish : callable
        Called with the folder after the fetch and before it counts as complete, to unpack an archive for example.
    progress : callable
        Receives a line before and after anything is fetched.

    Returns
    -------
    Path
        The folder with the artefacts.

    Raises
    ------
    ConfigurationError
        Maven is missing, could not fetch them, or took too long.
    """
    name = f"{title.lower().replace(' ', '-')}-{version}"

    def make(folder: Path) -> None:
        program = shutil.which(maven)
        if program is None:
            raise ConfigurationError(
                f"Maven not found ({maven!r}), and {title} {version} is not in {cache} yet: install maven, or {instead}"
            )
        progress(f"fetching {title} {version} with Maven (about {size_mb} MB, once) into {cache / name}")
        command = ["-f", str(pom), "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        with (cache / "maven.lock").open("w") as alone:  # its own store is not made for two at a time
            fcntl.flock(alone, fcntl.LOCK_EX)
            try:
                run = subprocess.run(
                    [program, *command, *arguments],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=_MAVEN_LIMIT_S,
                    cwd=cache,
                )
            except subprocess.TimeoutExpired as error:
                raise ConfigurationError(
                    f"Maven did not fetch {title} {version} within {_MAVEN_LIMIT_S} s; check the network and Maven's "
                    f"settings.xml, and try again, or {instead}"
                ) from error
        if run.returncode or not any(folder.iterdir()):
            reason = "\n".join((run.stdout + run.stderr).strip().splitlines()[-6:])
            raise ConfigurationError(
                f"Maven could not fetch {title} {version}:\n{reason}\n"
                f"check the network and Maven's settings.xml, or {instead}"
            )
        finish(folder)
        progress(f"{title} {version} is ready ({sum(1 for _ in folder.iterdir())} files)")

    return cached(cache, name, make)
