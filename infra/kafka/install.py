"""Fetch Kafka's jars once per user, with Maven, into the cache folder.

Idempotent and atomic: the folder appears complete or not at all, and a marker inside lists each jar with its size, so
that a damaged installation is noticed and fetched again.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from millrace.errors import ConfigurationError

KAFKA_VERSION: Final = "4.1.1"
_POM: Final = Path(__file__).with_name("pom.xml")
_MARKER: Final = "complete.json"
_JAVA_AT_LEAST: Final = 17
_MAVEN_LIMIT_S: Final = 600


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
    remedy = "install openjdk-17-jre, or use --profile embedded"
    if path is None:
        raise ConfigurationError(f"Java {_JAVA_AT_LEAST} not found: {remedy}")
    run = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', run.stderr + run.stdout)
    if found is None or int(found[1]) < _JAVA_AT_LEAST:
        version = found[1] if found else "unknown"
        raise ConfigurationError(f"Java {_JAVA_AT_LEAST} not found: {path} is version {version}; {remedy}")
    return path


def install_kafka(cache: Path, maven: str = "mvn", progress: Callable[[str], None] = lambda _: None) -> Path:
    """Make sure that Kafka's jars are in the cache folder.

    Parameters
    ----------
    cache : Path
        Per-user cache folder of Millrace; created if missing.
    maven : str
        Name or path of Maven, needed only when the jars are not there yet.
    progress : callable
        Receives a line before and after anything is fetched.

    Returns
    -------
    Path
        The folder with the jars.

    Raises
    ------
    ConfigurationError
        Maven is missing or could not fetch them.
    """
    target = cache / f"kafka-{KAFKA_VERSION}"
    if _is_complete(target):
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"kafka-{KAFKA_VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete(target):
            _fetch(target, maven, progress)
    return target


def _is_complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _MARKER).read_text())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, ValueError):
        return False


def _fetch(target: Path, maven: str, progress: Callable[[str], None]) -> None:
    program = shutil.which(maven)
    if program is None:
        raise ConfigurationError(
            f"Maven not found ({maven!r}), and Kafka {KAFKA_VERSION} is not in {target.parent} yet: install maven, "
            "or use --profile embedded"
        )
    progress(f"fetching Kafka {KAFKA_VERSION} with Maven (about 45 MB, once) into {target}")
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    arguments = ["-f", str(_POM), "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    run = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=_MAVEN_LIMIT_S, cwd=target.parent
    )
    jars = sorted(partial.glob("*.jar")) if run.returncode == 0 else []
    if not jars:
        reason = "\n".join((run.stdout + run.stderr).strip().splitlines()[-6:])
        raise ConfigurationError(
            f"Maven could not fetch Kafka {KAFKA_VERSION}:\n{reason}\n"
            "check the network and Maven's settings.xml, or use --profile embedded"
        )
    (partial / _MARKER).write_text(json.dumps({jar.name: jar.stat().st_size for jar in jars}, indent=1))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    progress(f"Kafka {KAFKA_VERSION} is ready ({len(jars)} jars)")
