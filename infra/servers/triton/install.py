"""Fetch Triton once per user, with pip, into the cache folder: the server, and the Python that its models run in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.servers.cache import cached, digest_of_pins
from infra.settings import process_environment
from millrace.errors import ConfigurationError

TRITON_VERSION: Final = "2.51.0"
_SERVER: Final = Path(__file__).with_name("server.txt")
_BACKEND: Final = Path(__file__).with_name("backend.txt")
_STUB: Final = "triton_python_backend_stub"
_PYTHONS: Final = ("3.11", "3.12")  # numpy 1.26, the last one that Triton's Python backend reads right, has no others
_LIMIT_S: Final = 900
_INSTEAD: Final = "set models.server to 'in_process', or use --profile embedded"


@dataclass(frozen=True)
class TritonParts:
    """What a Triton server is started with.

    Attributes
    ----------
    program : Path
        The server.
    libraries : Path
        Folder of shared libraries that it needs.
    backends : Path
        Its backend folder.
    environment : Path
        Virtual environment for models of the Python backend: ``EXECUTION_ENV_PATH`` in their configuration.
    """

    program: Path
    libraries: Path
    backends: Path
    environment: Path


def install_triton(
    cache: Path, python: str = sys.executable, progress: Callable[[str], None] = lambda _: None
) -> TritonParts:
    """Make sure that the server and its models' Python are in the cache folder.

    Parameters
    ----------
    cache : Path
        Per-user cache folder of Millrace; created if missing.
    python : str
        Python 3.11 or 3.12 with pip, which the models' Python is made from; pip's own configuration decides where
        packages come from.
    progress : callable
        Receives a line before and after anything is fetched.

    Raises
    ------
    ConfigurationError
        The Python does not fit, or pip could not fetch the packages in time.
    """
    version = _python_version(python)
    name = f"triton-{TRITON_VERSION}-python{version}-{digest_of_pins(_SERVER, _BACKEND)}"

    def make(folder: Path) -> None:
        progress(f"fetching Triton {TRITON_VERSION} with pip (about 100 MB, once) into {cache / name}")
        _run([python, "-m", "pip", *_pip(_SERVER), "--target", str(folder / "server")], "Triton")
        backends = folder / "server" / "pytriton" / "tritonserver"
        shutil.copy2(backends / "python_backend_stubs" / version / _STUB, backends / "backends" / "python" / _STUB)
        environment = folder / "environment"
        _run([python, "-m", "venv", "--without-pip", str(environment)], "the models' Python")
        inner = str(environment / "bin" / "python")
        _run([python, "-m", "pip", "--python", inner, *_pip(_BACKEND)], "the models' packages")
        # The folder gets its final name when it is complete, and the backend sources this script there.
        activate = environment / "bin" / "activate"
        activate.write_text(activate.read_text().replace(str(environment), str(cache / name / "environment")))
        progress(f"Triton {TRITON_VERSION} is ready")

    folder = cached(cache, name, make)
    server = folder / "server"
    return TritonParts(
        program=server / "pytriton" / "tritonserver" / "bin" / "tritonserver",
        libraries=server / "nvidia_pytriton.libs",
        backends=server / "pytriton" / "tritonserver" / "backends",
        environment=folder / "environment",
    )


def _pip(requirements: Path) -> list[str]:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    return ["install", *quiet, "--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(requirements)]


def _python_version(python: str) -> str:
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    remedy = f"name one of {', '.join(_PYTHONS)} by the setting `triton.python`, {_INSTEAD}"
    try:
        version = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(f"Python for Triton's models cannot be run ({python!r}: {error}); {remedy}") from error
    if version not in _PYTHONS:
        raise ConfigurationError(f"Python for Triton's models: {python!r} is {version}; {remedy}")
    return version


def _run(command: list[str], what: str) -> None:
    """Run a step of the installation.

    Raises
    ------
    ConfigurationError
        It failed or took too long; the message carries the end of what it said.
    """
    # Without PYTHONPATH and the like: what this process sees must not count as installed there.
    environment = {name: value for name, value in process_environment().items() if not name.startswith("PYTHON")}
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S, env=environment)
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"pip did not fetch {what} within {_LIMIT_S} s; check the network and pip's configuration, and try again, "
            f"or {_INSTEAD}"
        ) from error
    if run.returncode:
        reason = "\n".join((run.stdout + run.stderr).strip().splitlines()[-6:])
        raise ConfigurationError(
            f"pip could not fetch {what}:\n{reason}\ncheck the network and pip's configuration, or {_INSTEAD}"
        )
