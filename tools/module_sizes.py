"""Hold Python modules to their size limit: over 400 lines is an error, over 250 a sign to look."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOOK_AT_LINES = 250
MAX_LINES = 400


@dataclass(frozen=True, slots=True)
class SizeReport:
    """Modules beyond a limit, as ``path: n lines`` messages."""

    errors: tuple[str, ...]
    notices: tuple[str, ...]


def check_sizes(files: Iterable[Path], root: Path) -> SizeReport:
    """Count the lines of Python modules.

    Parameters
    ----------
    files
        Any files; those that do not end in ``.py`` are passed over.
    root
        Folder that the reported paths are relative to.

    Returns
    -------
    SizeReport
        Modules of more than `MAX_LINES` lines as errors, of more than `LOOK_AT_LINES` as notices.
    """
    errors: list[str] = []
    notices: list[str] = []
    for path in files:
        if path.suffix != ".py":
            continue
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        if n_lines > MAX_LINES:
            errors.append(
                f"{path.relative_to(root)}: {n_lines} lines, the limit is {MAX_LINES}: split it by what it does"
            )
        elif n_lines > LOOK_AT_LINES:
            notices.append(f"{path.relative_to(root)}: {n_lines} lines, over {LOOK_AT_LINES}: a sign to look")
    return SizeReport(tuple(errors), tuple(notices))
