"""Write what shows people's own words: readable by its owner alone."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_OWNER_ALONE: Final = 0o600


def write_private(content: bytes, path: Path) -> None:
    """Write a file that its owner alone may read, whatever its mode was before; its folder is made.

    What is no regular file, such as a pipe, keeps its mode, and so does a file of somebody else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ALONE)
    with os.fdopen(descriptor, "wb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            with suppress(PermissionError):
                os.fchmod(descriptor, _OWNER_ALONE)
        file.write(content)
