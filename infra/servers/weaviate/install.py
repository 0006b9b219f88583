"""Build the Weaviate server once per user, with Go, into the cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.servers.go import build_program
from infra.settings import process_environment

WEAVIATE_VERSION: Final = "1.39.0"
_PACKAGE: Final = "github.com/weaviate/weaviate/cmd/weaviate-server"


def install_weaviate(cache: Path, go: str = "go", progress: Callable[[str], None] = lambda _: None) -> Path:
    """Make sure that the Weaviate server is in the cache folder; gives the program.

    Raises
    ------
    ConfigurationError
        Go is missing, too old, or could not build it.
    """
    return build_program(
        "Weaviate",
        WEAVIATE_VERSION,
        _PACKAGE,
        cache,
        environment=process_environment(),
        takes="about five minutes",
        go=go,
        instead="set stores.kind to 'lance', or use --profile embedded",
        progress=progress,
    )
