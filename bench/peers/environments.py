"""A virtual environment for each peer, built once per user from a lock file with hashes.

Peers want releases of Kafka clients and of pydantic that no single environment can hold.
"""

import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path

from bench.peers.roster import LOCKS
from infra.servers.cache import cached, digest_of_pins
from millrace.errors import ConfigurationError

_LIMIT_S = 900


def interpreter(lock: str, cache: Path, progress: Callable[[str], None] = lambda _: None, locks: Path = LOCKS) -> Path:
    """The Python of an environment that holds what a lock file names.

    Parameters
    ----------
    lock : str
        Stem of the lock file; empty for the environment that runs this.
    cache : Path
        Per-user cache folder of Millrace.
    progress : callable
        Receives a line before and after anything is installed.
    locks : Path
        Folder of lock files; what they name relatively is looked for there.

    Raises
    ------
    ConfigurationError
        If it cannot be installed; the message says why.
    """
    if not lock:
        return Path(sys.executable)
    requirements = locks / f"{lock}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"peer-{lock}-python{version}-{digest_of_pins(requirements)}"

    def make(folder: Path) -> None:
        progress(f"installing {lock} and what it needs into {cache / name} (once)")
        venv.EnvBuilder(with_pip=False).create(folder)
        # No bytecode: files that appear beside the installed ones later would not be in the cache's list.
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-deps"]
        command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", *options]
        try:
            subprocess.run(
                [*command, "--require-hashes", "--requirement", str(requirements)],
                capture_output=True, text=True, check=True, timeout=_LIMIT_S, cwd=locks,
            )  # fmt: skip
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or ""
            reason = "\n".join(str(said).strip().splitlines()[-6:]) or str(error)
            raise ConfigurationError(
                f"{lock} could not be installed from {requirements.name}:\n{reason}\n"
                "check pip's configuration and the network, or leave it out with --peers"
            ) from error
        progress(f"{lock} is ready")

    return cached(cache, name, make) / "bin" / "python"


def versions(python: Path, parts: tuple[str, ...]) -> dict[str, str]:
    """Releases of distributions in an environment.

    Raises
    ------
    ConfigurationError
        If one is missing there.
    """
    if python == Path(sys.executable):
        return {part: installed(part) for part in parts}
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]), sep='\\n')"
    run = subprocess.run([str(python), "-c", script, *parts], capture_output=True, text=True, check=False)
    if run.returncode:
        raise ConfigurationError(f"{python} lacks one of {', '.join(parts)}: {run.stderr.strip().splitlines()[-1]}")
    return dict(zip(parts, run.stdout.split(), strict=True))
