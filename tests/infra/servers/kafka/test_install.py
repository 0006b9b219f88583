"""Kafka's jars are fetched once, completely or not at all, and what is missing is named with its remedy."""

import json
from pathlib import Path

import pytest

from infra.servers import java
from infra.servers.java import find_java
from infra.servers.kafka import KAFKA_VERSION, install_kafka
from millrace.errors import ConfigurationError


def _program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


@pytest.fixture
def maven(tmp_path: Path) -> str:
    """A program that does what Maven does with these arguments, and counts its runs."""
    script = f"""
    echo run >> {tmp_path}/runs
    for argument in "$@"; do case "$argument" in -DoutputDirectory=*) folder="${{argument#*=}}";; esac; done
    mkdir -p "$folder" && echo content > "$folder/kafka.jar" && echo other > "$folder/other.jar"
    """
    return _program(tmp_path / "mvn", script)


def _n_runs(tmp_path: Path) -> int:
    return len((tmp_path / "runs").read_text().splitlines())


def test_jars_are_fetched_once(tmp_path: Path, maven: str) -> None:
    said: list[str] = []
    folder = install_kafka(tmp_path / "cache", maven, said.append)
    assert folder == tmp_path / "cache" / f"kafka-{KAFKA_VERSION}"
    assert {jar.name for jar in folder.glob("*.jar")} == {"kafka.jar", "other.jar"}
    assert len(said) == 2
    assert install_kafka(tmp_path / "cache", maven, said.append) == folder
    assert (len(said), _n_runs(tmp_path)) == (2, 1)


@pytest.mark.parametrize("damage", ["missing", "short", "no marker", "broken marker", "empty marker"])
def test_a_damaged_installation_is_fetched_again(tmp_path: Path, maven: str, damage: str) -> None:
    folder = install_kafka(tmp_path / "cache", maven)
    match damage:
        case "missing":
            (folder / "kafka.jar").unlink()
        case "short":
            (folder / "kafka.jar").write_text("")
        case "no marker":
            (folder / "complete.json").unlink()
        case "broken marker":
            (folder / "complete.json").write_text("{")
        case _:
            (folder / "complete.json").write_text("{}")
    install_kafka(tmp_path / "cache", maven)
    assert _n_runs(tmp_path) == 2
    assert set(json.loads((folder / "complete.json").read_text())) == {"kafka.jar", "other.jar"}


def test_a_failed_fetch_leaves_no_installation_and_shows_what_maven_said(tmp_path: Path) -> None:
    maven = _program(tmp_path / "mvn", "echo 'could not resolve kafka' >&2; exit 1")
    with pytest.raises(ConfigurationError, match=r"(?s)could not resolve kafka.*or use --profile embedded"):
        install_kafka(tmp_path / "cache", maven)
    assert not (tmp_path / "cache" / f"kafka-{KAFKA_VERSION}").exists()


def test_without_maven_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="install maven, or use --profile embedded"):
        install_kafka(tmp_path / "cache", str(tmp_path / "no-maven"))


def test_without_maven_an_installation_that_is_there_is_used(tmp_path: Path, maven: str) -> None:
    folder = install_kafka(tmp_path / "cache", maven)
    assert install_kafka(tmp_path / "cache", str(tmp_path / "no-maven")) == folder


def test_without_java_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Java 17 not found: install openjdk-17-jre, .*kafka\.java, or use --profile embedded"
    ):
        find_java(str(tmp_path / "no-java"))


@pytest.mark.parametrize(
    ("line", "found"),
    [('openjdk version "11.0.2" 2019-01-15', "11"), ('java version "1.8.0_292"', "8"), ("something else", "unknown")],
)
def test_a_java_that_is_too_old_is_named_with_its_version(tmp_path: Path, line: str, found: str) -> None:
    java = _program(tmp_path / "java", f"echo '{line}' >&2")
    with pytest.raises(ConfigurationError, match=f"is version {found}; install openjdk-17-jre"):
        find_java(java)


def test_a_newer_java_will_do(tmp_path: Path) -> None:
    java = _program(tmp_path / "java", """echo 'openjdk version "21" 2023-09-19' >&2""")
    assert find_java(java) == java


def test_a_fetch_that_takes_too_long_is_given_up_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "_MAVEN_LIMIT_S", 0.2)
    with pytest.raises(ConfigurationError, match=r"not fetch Kafka .* within 0\.2 s; .*--profile embedded"):
        install_kafka(tmp_path / "cache", _program(tmp_path / "mvn", "exec sleep 60"))
    assert not (tmp_path / "cache" / f"kafka-{KAFKA_VERSION}").exists()
