"""The fault matrix: the same disturbance for every peer, judged from the topics by `bench.peers.oracle`.

A peer's process is watched as an orchestrator would: when it ends by itself it is started again, a few times.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import msgspec

from bench.lab import Lab
from bench.peers.oracle import GOOD, Kind, Sent, Verdict, judge
from bench.peers.running import Installed, Program, job_for
from bench.peers.source import PARTITIONS, Scan, send
from millrace.errors import ConfigurationError

RESTARTS = 5
TERM_LIMIT_S = 30.0
_SESSION_S = 6.0
_START_S = 30.0
_SLOW_S = 3.0
_KILL_AFTER_S = 2.0  # of a slow reading: longer than the commit interval
_QUIET_S = 2.0
_WORK_S = 0.002
_FED_S = 30.0
_SCAN_S = 0.2
_MEMBER_S = 5.0  # how long a further member stays
_FROZEN_S = _SESSION_S * 2.5


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
    unlike : str
        Why the disturbance is none for this peer.
    error : str
        Why it could not be run.
    """

    peer: str
    fault: str
    verdict: Verdict | None = None
    deaths: int = 0
    term_s: float | None = None
    term_status: int | None = None
    unlike: str = ""
    error: str = ""


class Scenario(NamedTuple):
    """A disturbance: which records are sent, and what is done to the process.

    Attributes
    ----------
    name, title : str
        How code and readers call it.
    kinds : callable
        The records, by their number.
    disturb : callable, optional
        What is done, while the records are handled.
    fed : bool
        Whether records come at an even pace while it is done; else all are there from the start.
    members : bool
        Whether it takes two processes that share the work.
    """

    name: str
    title: str
    kinds: Callable[[int], list[Kind]]
    disturb: Callable[["_Trial"], Awaitable[None]] | None = None
    fed: bool = False
    members: bool = False


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


async def run(lab: Lab, installed: Installed, scenario: Scenario) -> Cell:
    """One cell of the matrix; a failure of the harness itself is written into it."""
    peer = installed.peer
    if scenario.members and not peer.groups:
        return Cell(peer=peer.title, fault=scenario.name, unlike="no groups")
    try:
        return await _Trial(lab, installed, scenario).run()
    except Exception as error:  # noqa: BLE001 - one broken cell must not cost the others
        return Cell(peer=peer.title, fault=scenario.name, error=f"{type(error).__name__}: {error}".splitlines()[0])


class _Trial:
    """One run: the source is filled, the program disturbed, and the end awaited."""

    def __init__(self, lab: Lab, installed: Installed, scenario: Scenario) -> None:
        self._lab = lab
        self._installed = installed
        self._scenario = scenario
        self._deaths = 0
        self._term: tuple[int | None, float] | None = None
        self._kinds = scenario.kinds(lab.size(6_000 if scenario.fed else 2_000, 400))
        # What writes by batches may first come to the end of one that holds all slow readings.
        self._patience_s = _SESSION_S * 2 + _SLOW_S * (1 + self._kinds.count("slow")) + lab.size(10, 0)

    async def run(self) -> Cell:
        source = self._lab.create_topic("peers.taken", PARTITIONS)
        sink = self._lab.create_topic("peers.checked", PARTITIONS)
        self._job = job_for(
            self._lab, self._installed.peer, source, sink, slow_s=_SLOW_S, work_s=_WORK_S, session_s=_SESSION_S
        )
        over_s = _FED_S if self._scenario.fed else 0.0
        feeding = asyncio.create_task(asyncio.to_thread(send, self._lab, source, self._kinds, over_s=over_s))
        if not self._scenario.fed:
            await feeding
        with Scan(self._lab, sink, f"{source}.dlq") as self._scan, ExitStack() as programs:
            self._program = programs.enter_context(Program(self._installed, self._job))
            self._running = [self._program]
            if self._scenario.fed:
                await self._until(lambda: bool(self._scan.answers))
            if self._scenario.disturb is not None:
                programs.callback(self._end_all)
                await self._scenario.disturb(self)
            sent = await self._until_fed(feeding)
            await self._settle(sent)
        return Cell(
            peer=self._installed.peer.title,
            fault=self._scenario.name,
            verdict=judge(sent, self._scan.answers, self._scan.letters),
            deaths=self._deaths,
            term_s=self._term[1] if self._term else None,
            term_status=self._term[0] if self._term else None,
        )

    async def kill(self) -> None:
        """Twice: kill it in the middle of a slow reading that it has begun since, and start it again."""
        for _ in range(2):
            before = len(self._program.slow())
            await self._until(lambda before=before: len(self._program.slow()) > before)  # type: ignore[misc]
            await self._for(_KILL_AFTER_S)
            self._program.kill()
            self._program.start()

    async def terminate(self) -> None:
        """SIGTERM after a quarter of the records, then a start."""
        await self._until(lambda: len(self._scan.sequences) >= len(self._kinds) // 4)
        self._term = await asyncio.to_thread(self._program.terminate, TERM_LIMIT_S)
        self._program.start()

    async def join_and_leave(self) -> None:
        """Three times: a further member comes, stays a while, and leaves in order."""
        for _ in range(3):
            other = self._further()
            await self._for(_MEMBER_S)
            self._running.remove(other)
            await asyncio.to_thread(other.terminate, TERM_LIMIT_S)
            await self._for(1.0)

    async def freeze(self) -> None:
        """Of two members freeze one for longer than its session, and let it go on."""
        self._further()
        await self._for(_MEMBER_S)
        self._running.remove(self._program)  # it does not run, and is not to be started again
        with self._program.frozen():
            await self._for(_FROZEN_S)
        self._running.append(self._program)

    async def restart_broker(self) -> None:
        """Stop the broker in order, and start it again where it was.

        Raises
        ------
        ConfigurationError
            If the lab's broker is not its own.
        """
        if self._lab.broker is None:
            raise ConfigurationError("the broker of this lab is not its own to restart")
        await asyncio.to_thread(self._lab.broker.stop)
        await asyncio.to_thread(self._lab.broker.start)

    def _further(self) -> Program:
        """A second process in the same group, with a folder of its own."""
        folder = self._lab.new_folder(self._installed.peer.name)
        other = Program(self._installed, msgspec.structs.replace(self._job, folder=str(folder))).start()
        self._running.append(other)
        return other

    def _end_all(self) -> None:
        for program in self._running:
            program.kill()

    async def _until_fed(self, feeding: asyncio.Task[list[Sent]]) -> list[Sent]:
        while not feeding.done():
            await self._for(_SCAN_S)
        return await feeding

    async def _settle(self, sent: Sequence[Sent]) -> None:
        """Wait until all good records are answered and nothing comes any more, or until patience ends."""
        good = {each.sequence for each in sent if each.kind in GOOD}
        bad = {each.value for each in sent if each.kind not in GOOD}

        def ended() -> bool:
            if not good <= self._scan.sequences:
                return False
            return self._scan.quiet_s > (_QUIET_S if bad <= self._scan.letters else 2 * _QUIET_S)

        await self._until(ended)

    async def _for(self, seconds: float) -> None:
        """Let time pass, with all members kept running."""
        began = time.monotonic()
        await self._until(lambda: time.monotonic() - began > seconds)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for something, at most as long as patience lasts without a further record being answered."""
        known, since = -1, time.monotonic()
        patience_s = self._patience_s + (0 if self._scan.sequences else _START_S)
        while not condition() and time.monotonic() - since < patience_s:
            await asyncio.to_thread(self._scan.read)
            for program in self._running:
                if not program.running and self._deaths < RESTARTS:
                    self._deaths += 1
                    program.start()
                    since = time.monotonic()
            if self._deaths == RESTARTS and not any(program.running for program in self._running):
                break
            if (now := len(self._scan.sequences) + len(self._scan.letters)) > known:
                known, since, patience_s = now, time.monotonic(), self._patience_s + (0 if now else _START_S)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("kill", "kill -9 while slow heads are in work", _slow_heads, _Trial.kill),
    Scenario("poison", "bytes that cannot be decoded, one in each partition", _poison),
    Scenario("failing", "the handler fails on 1 % for good", _failing),
    Scenario("sigterm", "SIGTERM under load, then a start", _good, _Trial.terminate),
    Scenario("members", "a worker joins and leaves, three times", _good, _Trial.join_and_leave, fed=True, members=True),
    Scenario("frozen", "one of two workers is frozen for 2.5 sessions", _good, _Trial.freeze, fed=True, members=True),
    Scenario("broker", "the broker is restarted", _good, _Trial.restart_broker, fed=True),
)
