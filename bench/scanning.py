"""S1: what the scan of documents costs: in processor time, and in time until a document can be asked about."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Literal

import msgspec
import psutil

from agents.ports import GuardPorts, Rank, TextScanner
from bench.ingest import N_PARAGRAPHS, put_all
from bench.lab import Lab
from bench.measure import Check, Outcome, interleaved
from bench.null_adapters import GuardSwitch
from bench.stack import running_client
from bench.texts import document, paragraphs
from millrace.client import Millrace
from millrace.errors import Unavailable
from millrace.findings import Finding, Scan

_SCANNER = "inference.injection.child"
_MB = 1_000_000
_LIMIT_S = 240
_FIRST, _BESIDE, _OFF = "untrusted, scanned first", "trusted, scanned beside", "untrusted, not scanned"


class Ingested(msgspec.Struct, frozen=True):
    """One corpus that was put in.

    Attributes
    ----------
    n_bytes : int
        Its size.
    visible_s, scanned_s : float
        Until all of it can be asked about, and until all of it is scanned as well, in seconds.
    worker_s, scanner_s : float
        Processor time of this process, with the worker and its model in it, and of the scanner's own, in seconds.
    """

    n_bytes: int
    visible_s: float
    scanned_s: float
    worker_s: float
    scanner_s: float

    def a_mb(self, seconds: float) -> float:
        """Seconds for a MB, where the whole took so many."""
        return seconds / self.n_bytes * _MB


class CountedScans:
    """Passes texts of documents on to their scanner and counts those that are done; `adapt` puts it in front."""

    def __init__(self) -> None:
        self.n_done = 0
        self._changed = asyncio.Event()

    def adapt(self, ports: Any) -> Any:
        """Ports of an agent, counted where they are those of who scans documents."""
        if not isinstance(ports, GuardPorts):
            return ports
        return msgspec.structs.replace(ports, scanner=_Counted(ports.scanner, self._done))

    def _done(self) -> None:
        self.n_done += 1
        self._changed.set()

    async def until(self, n: int) -> None:
        """Return when so many are done.

        Raises
        ------
        Unavailable
            If that takes too long.
        """
        try:
            async with asyncio.timeout(_LIMIT_S):
                while self.n_done < n:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise Unavailable(f"{self.n_done} of {n} documents were scanned within {_LIMIT_S} s") from error


class _Counted:
    def __init__(self, inner: TextScanner, done: Callable[[], None]) -> None:
        self._inner = inner
        self._done = done

    def quick(self, text: str) -> Sequence[Finding]:
        return self._inner.quick(text)

    def begin(self, text: str, rank: Rank) -> None:
        self._inner.begin(text, rank)

    async def scan(self, text: str, rank: Rank) -> Scan:
        found = await self._inner.scan(text, rank)
        self._done()
        return found


class _Ingest:
    """Puts corpora in, each into a tenant of its own."""

    def __init__(self, client: Millrace, name: str, n: int, switch: GuardSwitch, scans: CountedScans) -> None:
        self._client = client
        self._name = name
        self._n = n
        self._switch = switch
        self._scans = scans
        self._numbers = count()

    def by(self, trust: Literal["trusted", "untrusted"], *, scanned: bool) -> Callable[[], Awaitable[Ingested]]:
        """A contender: a source of this trust, whose documents are scanned or not."""

        async def put() -> Ingested:
            seed = f"{self._name}-{next(self._numbers)}"
            texts = [document(paragraphs(f"{seed}/{i}", N_PARAGRAPHS)) for i in range(self._n)]
            corpus = [(f"manual/{i}.md", text) for i, text in enumerate(texts)]
            self._switch.on = scanned
            due = self._scans.n_done + (self._n if scanned else 0)
            began, worker, scanner = time.perf_counter(), time.process_time(), scanner_seconds()
            await put_all(self._client, corpus, tenant=seed, trust=trust)
            visible_s = time.perf_counter() - began
            await self._scans.until(due)
            return Ingested(
                n_bytes=sum(len(text.encode()) for text in texts),
                visible_s=visible_s,
                scanned_s=time.perf_counter() - began,
                worker_s=time.process_time() - worker,
                scanner_s=scanner_seconds() - scanner,
            )

        return put


def scanner_seconds() -> float:
    """Processor time that the scanner's processes of this one have taken, in seconds."""
    taken = 0.0
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if _SCANNER in child.cmdline():
                times = child.cpu_times()
                taken += times.user + times.system
    return taken


async def measure(lab: Lab) -> Outcome:
    """Ingest corpora that are scanned before they are visible, scanned beside, and not scanned, in turns."""
    n = lab.size(50, 4)
    switch, scans = GuardSwitch(), CountedScans()

    def adapt(ports: Any) -> Any:
        return scans.adapt(switch.adapt(ports))

    async with running_client(lab, embedder="minilm", adapt=adapt) as client:
        await _Ingest(client, "warm-up", min(n, 8), switch, scans).by("untrusted", scanned=True)()
        ingest = _Ingest(client, "corpus", n, switch, scans)
        found = await interleaved(
            {
                _OFF: ingest.by("untrusted", scanned=False),
                _FIRST: ingest.by("untrusted", scanned=True),
                _BESIDE: ingest.by("trusted", scanned=True),
            },
            lab.repetitions,
        )
    return Outcome(checks=_checks(found), numbers=_numbers(found, n), notes=_notes(lab, n))


def _checks(found: dict[str, list[Ingested]]) -> tuple[Check, ...]:
    first, beside, off = found[_FIRST], found[_BESIDE], found[_OFF]

    def longer(ours: Sequence[Ingested]) -> tuple[float, ...]:
        return tuple(a.visible_s / b.visible_s for a, b in zip(ours, off, strict=True))

    def cost(what: str, unit: str, values: tuple[float, ...]) -> Check:
        return Check(id="S1", what=what, relation="<=", limit=None, unit=unit, values=values)

    return (
        cost("processor time of the scan, for a MB of text", "s", tuple(run.a_mb(run.scanner_s) for run in first)),
        cost("until visible, untrusted and scanned first, against not scanned", "x", longer(first)),
        cost("until visible, trusted and scanned beside, against not scanned", "x", longer(beside)),
    )


def _numbers(found: dict[str, list[Ingested]], n: int) -> dict[str, float]:
    numbers: dict[str, float] = {"documents": n, "bytes of text": found[_OFF][0].n_bytes}
    for name, runs in found.items():
        each = {
            "until visible, s": [run.visible_s for run in runs],
            "until scanned as well, s": [run.scanned_s for run in runs],
            "MB a second until visible": [run.n_bytes / run.visible_s / _MB for run in runs],
            "CPU of the worker for a MB, s": [run.a_mb(run.worker_s) for run in runs],
            "CPU of the scanner for a MB, s": [run.a_mb(run.scanner_s) for run in runs],
            "share of the scanner in both": [run.scanner_s / (run.worker_s + run.scanner_s) for run in runs],
        }
        numbers |= {f"{name}: {what}": round(statistics.median(values), 4) for what, values in each.items()}
    return numbers


def _notes(lab: Lab, n: int) -> str:
    return (
        f"{n} documents of {N_PARAGRAPHS} paragraphs into a new tenant, as in P5, with the real scanner in a process "
        "of its own and MiniLM "
        + ("behind Triton" if lab.profile == "native" else "in the worker")
        + ". An untrusted document is visible once it is scanned, a trusted one at once while it is scanned beside; "
        "not scanned means that the guards' policy says so, and everything else is the same. The time until visible "
        "is the client's, to the last outcome. Processor time of the scanner is that of its processes, of the worker "
        "that of this process with the client in it; the broker's is in neither. No budget is set: it is a cost. The "
        "texts are made of random words, in which no rule finds anything; what a scan costs and finds on real texts "
        "is measured by `python -m bench.scanner`."
    )
