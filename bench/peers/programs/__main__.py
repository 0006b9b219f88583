"""Run a peer's program for ever: ``python -m bench.peers.programs NAME JOB``; it is ended by a signal."""

import importlib
import os
import sys

import msgspec

from bench.peers.programs.work import Job


def main(name: str, text: str) -> None:
    """Pin this process to a core if the job names one, and run the program."""
    job = msgspec.json.decode(text, type=Job)
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})  # before any thread is started, so that clients' threads share the core
    importlib.import_module(f"bench.peers.programs.{name}").run(job)


if __name__ == "__main__":
    main(*sys.argv[1:3])
