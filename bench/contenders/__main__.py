"""Run one contender: ``python -m bench.contenders NAME JOB``; prints its sample as JSON."""

import importlib
import os
import sys

import msgspec

from bench.contenders.job import Job


def main(name: str, text: str) -> None:
    """Pin this process to a core, run the contender, print the sample."""
    job = msgspec.json.decode(text, type=Job)
    os.sched_setaffinity(0, {job.core})
    sample = importlib.import_module(f"bench.contenders.{name}").run(job)
    print(msgspec.json.encode(sample).decode(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
    os._exit(0)  # a contender's threads have nothing left to do
