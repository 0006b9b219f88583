"""Fetch Kafka's jars once per user, with Maven, into the cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.servers.java import fetch_artefacts

KAFKA_VERSION: Final = "4.1.1"
_POM: Final = Path(__file__).with_name("pom.xml")


def install_kafka(cache: Path, maven: str = "mvn", progress: Callable[[str], None] = lambda _: None) -> Path:
    """Make sure that Kafka's jars are in the cache folder; gives the folder with the jars.

    Raises
    ------
    ConfigurationError
        Maven is missing or could not fetch them.
    """
    return fetch_artefacts("Kafka", KAFKA_VERSION, _POM, cache, size_mb=45, maven=maven, progress=progress)
