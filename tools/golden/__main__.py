"""``python -m tools.golden record FOLDER --step N [--checkout PATH]``: record the log of a checkout.

It starts the checkout's own stack (embedded broker, hashing embedder) in a folder that is removed again, does the
scenario, and writes FOLDER/step-<N>.log.gz. The environment must have the libraries that the checkout needs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.golden import log

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
_READY_S: Final = 1800


def record(checkout: Path, folder: Path, step: int) -> Path:
    """Record the log of a checkout; gives the file."""
    out = folder / f"step-{step}.log.gz"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="golden-") as scratch:
        home, found = Path(scratch) / "home", Path(scratch) / "found.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout.resolve()),
            "MILLRACE_MODELS__EMBEDDER": "hashing",
            "MILLRACE_WORKER__READY_TIMEOUT_S": str(_READY_S),
        }
        infra = [sys.executable, "-m", "infra"]
        try:
            _run([*infra, "up", "--profile", "embedded", "--workers", "1", "--home", str(home)], environment, scratch)
            drive = [sys.executable, "-P", str(HERE / "drive.py"), str(step), str(HERE / "scenario.toml")]
            _run([*drive, str(home), str(found)], environment, scratch)
        finally:
            _run([*infra, "down", "--home", str(home)], environment, scratch)
        size = log.write(out, step, _commit(checkout), json.loads(found.read_text()))
    sys.stdout.write(f"{out}: {size} bytes\n")
    return out


def _run(command: list[str], environment: dict[str, str], folder: str) -> None:
    subprocess.run(command, env=environment, cwd=folder, check=True)


def _commit(checkout: Path) -> str:
    found = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"],  # noqa: S607 - the git of whoever records
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Record; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("record", help="record the log of a checkout")
    one.add_argument("folder", type=Path, help="where the file goes, such as tests/golden")
    one.add_argument("--step", type=int, required=True, help="step of the project's history that the checkout is")
    one.add_argument("--checkout", type=Path, default=ROOT, help="checkout to record; this one by default")
    chosen = parser.parse_args(arguments)
    record(chosen.checkout, chosen.folder, chosen.step)
    return 0


if __name__ == "__main__":
    sys.exit(main())
