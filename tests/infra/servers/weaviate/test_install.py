"""The server is built once, completely or not at all, and what is missing is named with its remedy."""

from pathlib import Path

import pytest

from infra.servers.go import find_go
from infra.servers.weaviate import WEAVIATE_VERSION, install_weaviate
from millrace.errors import ConfigurationError


def _program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def _go(tmp_path: Path, *, says: str = "go version go1.26.8 linux/amd64", build: str = "") -> str:
    """A program that answers as Go does, and notes what it is asked to build."""
    build = build or 'echo program > "$GOBIN/weaviate-server"'
    return _program(
        tmp_path / "go",
        f'if [ "$1" = version ]; then echo "{says}"; exit; fi\n'
        f'echo "$@ CGO_ENABLED=$CGO_ENABLED" >> {tmp_path}/runs\n{build}',
    )


def _runs(tmp_path: Path) -> list[str]:
    return (tmp_path / "runs").read_text().splitlines()


def test_the_server_is_built_once_and_says_how_long_that_takes(tmp_path: Path) -> None:
    said: list[str] = []
    go = _go(tmp_path)
    program = install_weaviate(tmp_path / "cache", go, said.append)
    assert program == tmp_path / "cache" / f"weaviate-{WEAVIATE_VERSION}" / "weaviate-server"
    assert "about five minutes, once" in said[0]
    assert install_weaviate(tmp_path / "cache", go, said.append) == program
    assert len(said) == 2
    assert [(f"weaviate-server@v{WEAVIATE_VERSION}" in run, "CGO_ENABLED=0" in run) for run in _runs(tmp_path)] == [
        (True, True)
    ]


def test_a_long_build_says_how_far_it_is(tmp_path: Path) -> None:
    build = 'for i in $(seq 400); do echo "pkg/$i" >&2; done; for i in $(seq 200); do echo "go: downloading m$i"; done'
    said: list[str] = []
    install_weaviate(
        tmp_path / "cache", _go(tmp_path, build=f'{build}; echo it > "$GOBIN/weaviate-server"'), said.append
    )
    assert said[1:-1] == [
        "building Weaviate: 200 packages compiled",
        "building Weaviate: 400 packages compiled",
        "building Weaviate: 200 modules fetched",
    ]


def test_a_server_that_is_there_needs_no_go(tmp_path: Path) -> None:
    program = install_weaviate(tmp_path / "cache", _go(tmp_path))
    assert install_weaviate(tmp_path / "cache", str(tmp_path / "no-go")) == program


def test_a_damaged_server_is_built_again(tmp_path: Path) -> None:
    go = _go(tmp_path)
    install_weaviate(tmp_path / "cache", go).write_text("")
    install_weaviate(tmp_path / "cache", go)
    assert len(_runs(tmp_path)) == 2


@pytest.mark.parametrize("build", ["echo 'no such module' >&2; exit 1", "echo 'no such module'"])
def test_a_failed_build_leaves_nothing_and_shows_what_go_said(tmp_path: Path, build: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)no such module.*or use --profile embedded"):
        install_weaviate(tmp_path / "cache", _go(tmp_path, build=build))
    assert not (tmp_path / "cache" / f"weaviate-{WEAVIATE_VERSION}").exists()


@pytest.mark.parametrize("says", ["go version go1.25.9 linux/amd64", "go version devel"])
def test_a_go_that_is_too_old_is_named_with_the_remedy(tmp_path: Path, says: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Go 1\.26 not found.*is version (1\.25|unknown); install Go"):
        find_go(_go(tmp_path, says=says))


@pytest.mark.parametrize(
    "says", ["go version go1.26.0 linux/amd64", "go version go1.30 linux/amd64", "go version go2.0"]
)
def test_a_go_that_is_new_enough_is_taken(tmp_path: Path, says: str) -> None:
    go = _go(tmp_path, says=says)
    assert find_go(go) == go


def test_without_go_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Go 1\.26 not found.*install Go.*set stores\.kind to 'lance', or use --profile"
    ):
        install_weaviate(tmp_path / "cache", str(tmp_path / "no-go"))
