"""Settings as of the stack that runs: its profile counts, however a command was started."""

from __future__ import annotations

from pathlib import Path

from infra.launch.stack import Stack, read_stack
from infra.settings import Loaded, load
from millrace.errors import StackNotFound


def load_running(home: Path | None = None) -> Loaded:
    """Read all settings; errors as of `load` and `read_stack`.

    Parameters
    ----------
    home : Path, optional
        Folder of the stack, where a flag names it.
    """

    def profile_of(folder: Path) -> str | None:
        stack = read_stack(folder)
        return stack.profile if stack else None

    return load({"home": home}, profile_of=profile_of)


def running_stack(home: Path) -> Stack:
    """What runs in a home folder.

    Raises
    ------
    StackNotFound
        Nothing does.
    ConfigurationError
        Its ``stack.json`` was written by a newer release or is damaged.
    """
    stack = read_stack(home)
    if stack is None:
        raise StackNotFound(f"nothing runs in {home}; start it with `python -m infra up` or name --home")
    return stack
