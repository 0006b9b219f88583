"""Compare with peers: ``python -m bench.peers [consume answer ask faults ingest] [--peers NAME ...] [--quick]``.

Each comparison runs on a Kafka node of its own, which is ended afterwards. Peers that this project does not install
get an environment of their own in the user's cache. The exit code is 1 if a peer could not be measured somewhere.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench.lab import Lab, open_lab
from bench.measure import REPETITIONS
from bench.peers import faults, ingest, rpc, throughput
from bench.peers.findings import Section, matrix
from bench.peers.page import Report, with_earlier, write
from bench.peers.roster import NAMES, PEERS, PIPELINES, RPC, Peer
from bench.peers.running import ROOT, Installed, install
from bench.report import environment
from millrace.errors import ConfigurationError

_FAULTS_NOTES = (
    "Each peer runs the same program as above, not pinned, and is started again when it ends by itself, at most "
    f"{faults.RESTARTS} times. Whatever it says of itself, an oracle compares a full scan of source, sink and dead "
    "letter topic. Lost is a record that was passed over without an answer and without a dead letter; one that is "
    "still waited for is not lost, but then nothing behind it is reached. Millrace's repetitions carry the id of "
    "the first answer, by which its readers drop them; they are counted here all the same."
)


async def _faults(lab: Lab, peers: Sequence[Installed]) -> Section:
    """Every peer under every disturbance."""
    cells = []
    for installed in peers:
        for scenario in faults.SCENARIOS:
            _say(f"    {installed.peer.title}: {scenario.title}")
            if lab.broker is not None and not lab.broker.running:  # a restart that failed must cost one cell alone
                await asyncio.to_thread(lab.broker.start)
            cells.append(await faults.run(lab, installed, scenario))
    return matrix(_FAULTS_NOTES, cells)


Measure = Callable[[Lab, Sequence[Installed]], Awaitable[Section]]
COMPARISONS: dict[str, tuple[Measure, tuple[Peer, ...]]] = {
    "consume": (partial(throughput.measure, answering=False), tuple(peer for peer in PEERS if peer.timed)),
    "answer": (partial(throughput.measure, answering=True), tuple(peer for peer in PEERS if peer.timed)),
    "ask": (rpc.measure, RPC),
    "faults": (_faults, tuple(peer for peer in PEERS if peer.disturbed)),
    "ingest": (ingest.measure, PIPELINES),
}


class _Installing:
    """Installs each peer at most once, and keeps why one could not be."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    async def __call__(self, peers: Iterable[Peer]) -> list[Installed]:
        found = []
        for peer in peers:
            if peer.title in self.missing:
                continue
            try:
                installed = await asyncio.to_thread(install, peer, _say)
            except ConfigurationError as error:
                self.missing[peer.title] = str(error)
                _say(f"{peer.title} is left out: {error}")
                continue
            self.versions[peer.title] = ", ".join(f"{part} {each}" for part, each in installed.versions.items())
            found.append(installed)
        return found


async def run(
    names: Sequence[str],
    wanted: Sequence[str],
    *,
    repetitions: int,
    quick: bool,
    command: str,
    save: Callable[[Report], None],
) -> Report:
    """Run comparisons one after the other; what was found so far is saved after each one."""
    about = environment(ROOT)
    installing = _Installing()
    sections = []
    task = asyncio.current_task()
    if task is not None:  # SIGTERM, like SIGINT, ends what was started
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for name in names:
        measure, peers = COMPARISONS[name]
        installed = await installing(peer for peer in peers if peer.name in wanted)
        _say(f"==> {name}: {', '.join(each.peer.title for each in installed)}")
        began = time.monotonic()
        async with open_lab(repetitions=repetitions, quick=quick) as lab:
            section = await measure(lab, installed)
        measured = f"{about['measured at']}, commit {about['commit']}"
        sections.append(msgspec.structs.replace(section, seconds=time.monotonic() - began, measured=measured))
        _say(f"    {sections[-1].seconds:.0f} s")
        report = Report(
            command=command, sections=sections, environment=about, versions=installing.versions,
            missing=installing.missing, repetitions=repetitions, quick=quick,
        )  # fmt: skip
        save(report)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, compare, report."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Compare Millrace with its peers.")
    parser.add_argument("names", nargs="*", metavar="WHAT", help=f"comparisons: {', '.join(COMPARISONS)}; all")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=NAMES, metavar="PEER", help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "peers.json", help="write the report as JSON")
    parser.add_argument(
        "--markdown", type=Path, default=ROOT / "build" / "peers.md",
        help="write it as Markdown, with plots/ beside it; between the marks of results in a file that has them",
    )  # fmt: skip
    parser.add_argument(
        "--add", action="store_true", help="keep what the JSON holds of comparisons and peers' faults not measured now"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: does everything run?")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.names) - set(COMPARISONS)):
        parser.error(f"no comparison {unknown[0]!r}; there are {', '.join(COMPARISONS)}")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    def save(found: Report) -> None:
        whole = with_earlier(found, chosen.json, list(COMPARISONS)) if chosen.add else found
        write(whole, chosen.json, chosen.markdown)

    report = asyncio.run(
        run(
            chosen.names or list(COMPARISONS), chosen.peers, repetitions=1 if chosen.quick else REPETITIONS,
            quick=chosen.quick, command=" ".join(["python -m bench.peers", *(arguments or sys.argv[1:])]),
            save=save,
        )
    )  # fmt: skip
    print(f"reports: {chosen.json} and {chosen.markdown}")
    for peer, reason in report.missing.items():
        print(f"missing: {peer}: {reason}")
    for section in report.sections:
        for peer, reason in section.failures.items():
            print(f"failed: {section.name}: {peer}: {reason}")
    return int(not report.complete)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
