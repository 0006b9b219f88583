"""Which files the checks look at: what is in the repository, or would be after ``git add``."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def repository_files(root: Path = ROOT) -> Iterator[Path]:
    """Yield the files that git tracks or does not ignore.

    Parameters
    ----------
    root
        A folder inside a git working tree.

    Yields
    ------
    Path
        Absolute paths of existing regular files, sorted.

    Raises
    ------
    subprocess.CalledProcessError
        If `root` is not inside a git working tree.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in sorted(set(listing.split("\0")) - {""}):
        path = root / name
        if path.is_file() and not path.is_symlink():
            yield path
