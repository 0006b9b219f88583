"""A replay in a process of its own, as the command runs it: ``python -m bench.replay.child HOME RATE [SETTING ...]``.

Prints a line when it begins to ask, so that nobody measures how it starts.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.replay.recording import TENANT
from infra.replaying import Overrides, Range, ReplayOptions, replay_questions
from millrace.cli.replay import NICENESS
from millrace.connection import find_connection


def main(arguments: Sequence[str]) -> None:
    """Replay all recorded questions of the tenant."""
    home, rate, *changes = arguments
    told: list[str] = []

    def report(_done: int, _total: int, text: str) -> None:
        if text == "ask again" and not told:
            told.append(text)
            print(text, flush=True)

    os.nice(NICENESS)
    connection = find_connection(home=home, environ={})
    options = ReplayOptions(rate=float(rate))
    overrides = Overrides.read(Path(home), changes)
    asyncio.run(replay_questions(connection, overrides, Range(tenant=TENANT), options, report))


if __name__ == "__main__":
    main(sys.argv[1:])
