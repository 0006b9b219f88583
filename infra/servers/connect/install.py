"""Fetch the jars of Kafka Connect and Debezium once per user, with Maven, into the cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.servers.java import fetch_artefacts

CONNECT_VERSION: Final = "4.1.1"
DEBEZIUM_VERSION: Final = "3.3.1.Final"
_POM: Final = Path(__file__).with_name("pom.xml")


def install_connect(cache: Path, maven: str = "mvn", progress: Callable[[str], None] = lambda _: None) -> Path:
    """Make sure that the jars of Connect and of Debezium's Postgres connector are there; gives their folder.

    Raises
    ------
    ConfigurationError
        Maven is missing or could not fetch them.
    """
    version = f"{CONNECT_VERSION}-debezium-{DEBEZIUM_VERSION}"
    return fetch_artefacts(
        "Kafka Connect",
        version,
        _POM,
        cache,
        size_mb=40,
        maven=maven,
        instead="set capture.run to false, or use --profile embedded",
        progress=progress,
    )
