"""A worker for launcher tests: reports as its first argument says, and notes whether the broker outlives it."""

import json
import os
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    state, name = sys.argv[1], sys.argv[3]
    home = Path(os.environ["MILLRACE_HOME"])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if state == "ended":
        sys.exit("nothing to do here")
    report = {"pid": os.getpid(), "state": "ready" if state == "deaf" else state, "detail": "model file is missing"}
    path = home / "run" / f"{name}.json"
    path.with_suffix(".partial").write_text(json.dumps(report))
    path.with_suffix(".partial").replace(path)
    bootstrap = json.loads((home / "stack.json").read_text())["bootstrap"]
    signal.sigwait({signal.SIGUSR1 if state == "deaf" else signal.SIGTERM})
    host, _, port = bootstrap.rpartition(":")
    with socket.socket() as probe:
        answers = probe.connect_ex((host, int(port))) == 0
    (home / f"{name}-ended.json").write_text(json.dumps({"broker_answered": answers}))


if __name__ == "__main__":
    main()
