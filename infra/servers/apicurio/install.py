"""Fetch Apicurio Registry once per user, with Maven, and unpack it into the cache folder."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.servers.java import fetch_artefacts

APICURIO_VERSION: Final = "2.6.13.Final"
_POM: Final = Path(__file__).with_name("pom.xml")


def install_apicurio(cache: Path, maven: str = "mvn", progress: Callable[[str], None] = lambda _: None) -> Path:
    """Make sure that Apicurio Registry is in the cache folder; gives the folder with its runner jar.

    Raises
    ------
    ConfigurationError
        Maven is missing or could not fetch it.
    """
    return fetch_artefacts(
        "Apicurio Registry",
        APICURIO_VERSION,
        _POM,
        cache,
        size_mb=142,
        maven=maven,
        instead="set registry.run to false, or use --profile embedded",
        finish=_unpack,
        progress=progress,
    )


def _unpack(folder: Path) -> None:
    """Unpack the archives of a folder in place, so that they need not be kept."""
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()
