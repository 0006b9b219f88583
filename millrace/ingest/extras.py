"""Parts of ingest that need more than the SDK does, each behind an extra of the package."""

from importlib import import_module
from types import ModuleType

from millrace.errors import ConfigurationError


def part(module: str, extra: str) -> ModuleType:
    """Import a module of this package that needs what an extra installs.

    Raises
    ------
    ConfigurationError
        If that is not installed.
    """
    try:
        return import_module(f"millrace.ingest.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("millrace"):
            raise
        raise ConfigurationError(
            f"{error.name} is not installed; it comes with the extra {extra!r}: pip install 'millrace[{extra}]'"
        ) from error
