"""Run every static check and report them together: ``python -m tools.check [FOLDER ...]``.

All checks run even when one fails, so that one call shows everything there is to mend.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.module_sizes import check_sizes
from tools.project_text import check_text
from tools.source_files import ROOT, repository_files


def run_program(title: str, command: Sequence[str]) -> bool:
    """Run one checker, quiet when it passes.

    Parameters
    ----------
    title
        What the progress line calls it.
    command
        Program from this interpreter's own folder, and its arguments.

    Returns
    -------
    bool
        Whether it passed.
    """
    started = time.monotonic()
    program = Path(sys.executable).parent / command[0]
    result = subprocess.run([program, *command[1:]], cwd=ROOT, check=False, capture_output=True, text=True)
    return report(title, result.returncode == 0, result.stdout + result.stderr, time.monotonic() - started)


def report(title: str, passed: bool, details: str, seconds: float = 0.0) -> bool:  # noqa: FBT001 - one verdict, named at the call
    """Print one line for a check, and its findings when it failed; return `passed`."""
    print(f"==> {title}: {'ok' if passed else 'FAILED'} ({seconds:.1f} s)")
    if not passed:
        print(details.rstrip())
    return passed


def main(folders: Sequence[str]) -> int:
    """Run all checks (types in `folders` alone) and return the exit code: 0 if all passed, else 1."""
    files = list(repository_files())
    typed = [folder for folder in folders if any((ROOT / folder).rglob("*.py"))]
    sizes = check_sizes(files, ROOT)
    findings = check_text(files, ROOT)
    verdicts = [
        run_program("ruff check", ["ruff", "check", "--quiet", "."]),
        run_program("ruff format", ["ruff", "format", "--quiet", "--check", "--diff", "."]),
        run_program("mypy --strict", ["mypy", "--no-error-summary", *typed]),
        run_program("import rules", ["lint-imports", "--no-cache", "--no-logo"]),
        report("module sizes", not sizes.errors, "\n".join(sizes.errors)),
        report("project text", not findings, "\n".join(findings)),
    ]
    for notice in sizes.notices:
        print(f"    notice: {notice}")
    failed = verdicts.count(False)
    print(f"{len(verdicts) - failed} of {len(verdicts)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
