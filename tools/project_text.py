"""Keep the repository's text about the project alone: no one's machine, no package index, no leftovers.

The patterns are put together from pieces, so that this file does not contain what it forbids.
"""

import re
from collections.abc import Iterable
from pathlib import Path

_MACHINE_FOLDERS = ("work", "root", "tmp")
_INDEX_HOSTS = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("crates", "io"),
    ("proxy", "golang", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("repo1", "maven", "org"),
    ("repo", "maven", "apache", "org"),
    ("deb", "debian", "org"),
    ("security", "debian", "org"),
    ("archive", "ubuntu", "com"),
    ("anaconda", "org"),
)
_LEFTOVERS = (("TO", "DO"), ("FIX", "ME"), ("X", "XX"))
_TEXT_SUFFIXES = frozenset(
    {
        *(".avsc", ".css", ".html", ".js", ".json", ".jsonl", ".md", ".py", ".rst", ".sh", ".sql", ".txt", ".xml"),
        *(".cfg", ".in", ".ini", ".properties", ".toml", ".yaml", ".yml"),
    }
)
_TEXT_NAMES = frozenset({"Makefile", "Dockerfile", "run", ".gitignore", "py.typed"})

RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("path of one machine", re.compile(rf"(?<![\w.$}}~-])/(?:{'|'.join(_MACHINE_FOLDERS)}|home/\w+)/")),
    (
        "host of a package index",
        re.compile("|".join(re.escape(".".join(host)) for host in _INDEX_HOSTS), re.IGNORECASE),
    ),
    ("leftover", re.compile(rf"\b(?:{'|'.join(map(''.join, _LEFTOVERS))})\b")),
)


def is_text(path: Path) -> bool:
    """Tell by its name whether a file is text that people wrote or read."""
    return path.suffix in _TEXT_SUFFIXES or path.name in _TEXT_NAMES


def check_text(files: Iterable[Path], root: Path) -> list[str]:
    """Find text that says something about a machine, an index or unfinished work.

    Parameters
    ----------
    files
        Any files; those that `is_text` does not know are passed over.
    root
        Folder that the reported paths are relative to.

    Returns
    -------
    list of str
        One ``path:line: rule: 'text'`` message for each finding, in the order of `files`.
    """
    findings: list[str] = []
    for path in files:
        if not is_text(path):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for rule, pattern in RULES:
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                findings.append(f"{path.relative_to(root)}:{line}: {rule}: {match.group()!r}")
    return findings
