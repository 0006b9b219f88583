"""``python -m streams.embedded_broker``: run the broker until SIGTERM, or until the named parent is gone."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from streams.embedded_broker.server import serve


def main() -> None:
    """Read the command line and run the broker."""
    parser = argparse.ArgumentParser(prog="python -m streams.embedded_broker", description=__doc__)
    parser.add_argument(
        "--ready-file", type=Path, required=True, help="written, in one step, once the broker listens (JSON)"
    )
    parser.add_argument("--parent-pid", type=int, help="end when this process ends")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.ready_file, arguments.parent_pid))


if __name__ == "__main__":
    main()
