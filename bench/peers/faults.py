"""The fault matrix: the same disturbance for every peer, judged from the topics by `bench.peers.oracle`.

A peer's process is watched as an orchestrator would: when it ends by itself it is started again, a few times.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from bench.lab import Lab
from bench.peers.oracle import GOOD, Kind, Sent, Verdict, judge
from bench.peers.running import Installed, Program, job_for
from bench.peers.source import PARTITIONS, Scan, send

RESTARTS = 5
TERM_LIMIT_S = 30.0
_SESSION_S = 6.0
_SLOW_S = 3.0
_KILL_AFTER_S = 2.0  # of a slow reading: longer than the commit interval
_QUIET_S = 2.0
_WORK_S = 0.002


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A peer under one disturbance.

    Attributes
    ----------
    peer, fault : str
        Title of the peer, name of the scenario.
    verdict : Verdict or None
        None if it could not be run.
    deaths : int
        How often its process ended by itself.
    term_s : float or None
        Seconds from SIGTERM to its end; None where none was sent.
    term_status : int or None
        Its exit status then; None also if it had to be killed.
    error : str
        Why it could not be run.
    """

    peer: str
    fault: str
    verdict: Verdict | None = None
    deaths: int = 0
    term_s: float | None = None
    term_status: int | None = None
    error: str = ""


class Scenario(NamedTuple):
    """A disturbance: which records are sent, and what is done to the process."""

    name: str
    title: str
    kinds: Callable[[int], list[Kind]]
    kills: int = 0
    terminated: bool = False


def _slow_heads(n: int) -> list[Kind]:
    """Some slow ones in a row, so that several partitions have one at their head, a quarter and a half on the way."""
    slow = {start + i for start in (n // 4, n // 2) for i in range(3)}
    return ["slow" if i in slow else "good" for i in range(n)]


def _poison(n: int) -> list[Kind]:
    """One for each partition, half-way."""
    poison = {n // 2 + i for i in range(PARTITIONS)}
    return ["poison" if i in poison else "good" for i in range(n)]


def _failing(n: int) -> list[Kind]:
    """One in a hundred."""
    return ["failing" if i % 100 == 50 else "good" for i in range(n)]


def _good(n: int) -> list[Kind]:
    return ["good"] * n


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("kill", "kill -9 while slow heads are in work", _slow_heads, kills=2),
    Scenario("poison", "bytes that cannot be decoded, one in each partition", _poison),
    Scenario("failing", "the handler fails on 1 % for good", _failing),
    Scenario("sigterm", "SIGTERM under load, then a start", _good, terminated=True),
)


async def run(lab: Lab, installed: Installed, scenario: Scenario) -> Cell:
    """One cell of the matrix; a failure of the harness itself is written into it."""
    peer = installed.peer.title
    try:
        return await _Trial(lab, installed, scenario).run()
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others
        return Cell(peer=peer, fault=scenario.name, error=f"{type(error).__name__}: {error}".splitlines()[0])


class _Trial:
    """One run: the source is filled, the program disturbed, and the end awaited."""

    def __init__(self, lab: Lab, installed: Installed, scenario: Scenario) -> None:
        self._lab = lab
        self._installed = installed
        self._scenario = scenario
        self._deaths = 0
        self._kinds = scenario.kinds(lab.size(2_000, 400))
        # What writes by batches may first come to the end of one that holds all slow readings.
        self._patience_s = _SESSION_S * 2 + _SLOW_S * (1 + self._kinds.count("slow")) + lab.size(10, 0)

    async def run(self) -> Cell:
        source = self._lab.create_topic("peers.taken", PARTITIONS)
        sink = self._lab.create_topic("peers.checked", PARTITIONS)
        sent = await asyncio.to_thread(send, self._lab, source, self._kinds)
        job = job_for(
            self._lab, self._installed.peer, source, sink, slow_s=_SLOW_S, work_s=_WORK_S, session_s=_SESSION_S
        )
        term: tuple[int | None, float] | None = None
        with Scan(self._lab, sink, f"{source}.dlq") as scan, Program(self._installed, job) as program:
            for _ in range(self._scenario.kills):
                await self._kill(program, scan)
            if self._scenario.terminated:
                await self._until(program, scan, lambda: len(scan.sequences) >= len(sent) // 4)
                term = await asyncio.to_thread(program.terminate, TERM_LIMIT_S)
                program.start()
            await self._settle(program, scan, sent)
        return Cell(
            peer=self._installed.peer.title,
            fault=self._scenario.name,
            verdict=judge(sent, scan.answers, scan.letters),
            deaths=self._deaths,
            term_s=term[1] if term else None,
            term_status=term[0] if term else None,
        )

    async def _kill(self, program: Program, scan: Scan) -> None:
        """Kill it in the middle of a slow reading that it has begun since, and start it again."""
        before = len(program.slow())
        await self._until(program, scan, lambda: len(program.slow()) > before)
        began = time.monotonic()
        await self._until(program, scan, lambda: time.monotonic() - began > _KILL_AFTER_S)
        program.kill()
        program.start()

    async def _settle(self, program: Program, scan: Scan, sent: Sequence[Sent]) -> None:
        """Wait until all good records are answered and nothing comes any more, or until patience ends."""
        good = {each.sequence for each in sent if each.kind in GOOD}
        bad = {each.value for each in sent if each.kind not in GOOD}

        def ended() -> bool:
            if not good <= scan.sequences:
                return False
            return scan.quiet_s > (_QUIET_S if bad <= scan.letters else 2 * _QUIET_S)

        await self._until(program, scan, ended)

    async def _until(self, program: Program, scan: Scan, condition: Callable[[], bool]) -> None:
        """Wait for something, at most as long as patience lasts without a further record being answered."""
        known, since = -1, time.monotonic()
        while not condition() and time.monotonic() - since < self._patience_s:
            await asyncio.to_thread(scan.read)
            if not program.running:
                if self._deaths == RESTARTS:
                    break
                self._deaths += 1
                program.start()
                since = time.monotonic()
            if (now := len(scan.sequences) + len(scan.letters)) > known:
                known, since = now, time.monotonic()
