"""What an app's side of the stack reads in ``millrace.toml``: where the stack is, how to log in, whose documents."""

import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from millrace.errors import ConfigurationError

NAME: Final = "millrace.toml"


class TenantSection(msgspec.Struct, frozen=True):
    """The group ``tenant``: whose documents and questions, when nothing is said."""

    id: str = ""
    groups: tuple[str, ...] | None = None


class ConfigFile(msgspec.Struct, frozen=True):
    """The settings that clients share with the stack; others in the file are the stack's alone.

    Attributes
    ----------
    kafka : mapping of str to any
        The group ``kafka``; of it clients take how to log in.
    registry : mapping of str to any
        The group ``registry``; of it clients take where it is and how to log in.
    """

    bootstrap: str = ""
    objects: str = ""
    home: str = ""
    profile: str = ""
    kafka: dict[str, Any] = {}
    registry: dict[str, Any] = {}
    tenant: TenantSection = TenantSection()

    @classmethod
    def read(cls, folder: Path) -> "ConfigFile":
        """The file in a folder; one that is missing says nothing.

        Raises
        ------
        ConfigurationError
            If it cannot be read.
        """
        path = folder / NAME
        try:
            return msgspec.convert(tomllib.loads(path.read_text("utf-8")), cls)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, msgspec.ValidationError) as error:
            raise ConfigurationError(
                f"{path} cannot be read: {error}; see all settings with `python -m infra config`"
            ) from error
