"""Triton is fetched once, completely or not at all, with hashes, and what is missing is named with its remedy."""

import subprocess
from pathlib import Path

import pytest

from infra.servers.triton import TRITON_VERSION, TritonParts, install, install_triton
from infra.settings import load
from millrace.errors import ConfigurationError


def _python(path: Path, version: str, script: str) -> str:
    """A program that says that it is a Python, and does something else for all the rest."""
    path.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo {version}; exit; fi\n{script}\n')
    path.chmod(0o700)
    return str(path)


def test_an_installation_that_is_there_is_used(triton_parts: TritonParts) -> None:
    said: list[str] = []
    assert install_triton(load().settings.cache, progress=said.append) == triton_parts
    assert not said
    assert f"triton-{TRITON_VERSION}" in str(triton_parts.program)


def test_the_models_python_stands_where_it_was_moved_to_and_has_numpy_below_2(triton_parts: TritonParts) -> None:
    activate = triton_parts.environment / "bin" / "activate"
    assert ".partial" not in activate.read_text()
    script = "import numpy, onnxruntime, sys; print(numpy.__version__, sys.prefix)"
    run = subprocess.run(
        ["bash", "-c", f'source "{activate}" && python3 -c "{script}"'], capture_output=True, text=True, check=True
    )
    version, prefix = run.stdout.split()
    assert version.startswith("1.")
    assert Path(prefix) == triton_parts.environment


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_a_python_without_such_a_numpy_is_named_with_the_remedy(tmp_path: Path, version: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"is {version}; name one of 3\.11, 3\.12 by the setting"):
        install_triton(tmp_path / "cache", _python(tmp_path / "python", version, "exit 1"))


def test_a_python_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be run"):
        install_triton(tmp_path / "cache", str(tmp_path / "no-python"))


def test_a_failed_fetch_leaves_no_installation_and_shows_what_pip_said(tmp_path: Path) -> None:
    python = _python(tmp_path / "python", "3.11", "echo 'THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1")
    with pytest.raises(ConfigurationError, match=r"(?s)could not fetch Triton.*DO NOT MATCH.*--profile embedded"):
        install_triton(tmp_path / "cache", python)
    assert not list((tmp_path / "cache").glob(f"triton-{TRITON_VERSION}*[!.]/complete.json"))


def test_a_fetch_that_takes_too_long_is_given_up_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_LIMIT_S", 0.2)
    python = _python(tmp_path / "python", "3.11", "exec sleep 60")
    with pytest.raises(ConfigurationError, match=r"not fetch Triton within 0\.2 s; .*--profile embedded"):
        install_triton(tmp_path / "cache", python)


def test_packages_come_with_their_hashes_alone(tmp_path: Path) -> None:
    python = _python(tmp_path / "python", "3.11", f'echo "$@" >> {tmp_path}/arguments; exit 1')
    with pytest.raises(ConfigurationError):
        install_triton(tmp_path / "cache", python)
    arguments = (tmp_path / "arguments").read_text()
    assert "--require-hashes" in arguments
    assert "--no-deps" in arguments
