"""Opens what the guards work with: scanners, the finder of personal data, and what was scanned before."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from agents.guard.policy import GuardPolicy
from agents.learn.ports import ExamplePorts
from agents.ports import GuardPorts, QueryPorts, Rank, TextScanner
from inference.injection import ScannerLimits, ScannerPool
from inference.injection.known import KnownScans
from inference.personal_data import PersonalDataFinder
from infra.observed import ObservedScanner, Watch
from infra.settings import ScannerSettings, Settings
from millrace.errors import Unavailable

MIB = 2**20


@dataclass
class Guards:
    """What the ports of questions and documents take from here."""

    policy: GuardPolicy
    known_scans: KnownScans
    personal_data: PersonalDataFinder
    questions: ScannerPool | None = None
    documents: ScannerPool | None = None
    watch: Watch | None = None

    async def loaded(self) -> None:
        """Return when the rules for questions are loaded, so that the first question waits no longer than others."""
        if self.questions is not None and (self.policy.questions or self.policy.answers):
            with suppress(Unavailable):  # told to the question that needs it, which tries again
                await self.questions.scan("", Rank.QUESTION)

    def of_questions(self) -> dict[str, Any]:
        """Fields of `QueryPorts`."""
        return {
            "scanner": self._watched(self.questions),
            "known_scans": self.known_scans,
            "personal_data": self.personal_data,
            "guard": self.policy,
        }

    def of_documents(self) -> TextScanner | None:
        """Scanner of documents and corrections, where one of them is scanned."""
        return self._watched(self.documents)

    def _watched(self, pool: ScannerPool | None) -> TextScanner | None:
        return pool if pool is None or self.watch is None else ObservedScanner(pool, self.watch)


async def open_guards(
    settings: Settings,
    chosen: GuardPolicy,
    classes: Collection[type | None],
    name: str,
    services: AsyncExitStack,
    watch: Watch | None = None,
) -> Guards:
    """Open what these classes of ports need.

    Questions have a scanner of their own: the window of a document that is at work cannot be interrupted, and nobody
    should wait for one. Its process starts at once, for it takes seconds to load the rules; that of documents, which
    looks at corrections too, starts with the first scan, and after a restart there may be none.

    Parameters
    ----------
    settings : Settings
        Limits, and where state lies.
    chosen : GuardPolicy
        What is looked at.
    classes : collection of type
        Classes of ports.
    name : str
        Name of the worker.
    services : AsyncExitStack
        Ends what is opened here.
    watch : Watch, optional
        Counts and times what agents have scanned.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    known = KnownScans(settings.state / f"{name}.scans.db")
    services.callback(known.close)
    guards = Guards(chosen, known, PersonalDataFinder(), watch=watch)
    if QueryPorts in classes:
        guards.questions = _pool(settings.scanner, 1, services)
        if chosen.questions or chosen.answers:
            await guards.questions.start()
    if {GuardPorts, ExamplePorts} & set(classes):
        guards.documents = _pool(settings.scanner, settings.scanner.processes, services)
    return guards


def _pool(settings: ScannerSettings, processes: int, services: AsyncExitStack) -> ScannerPool:
    pool = ScannerPool(
        ScannerLimits(
            processes=processes,
            cpu_s=settings.window_cpu_s,
            text_s=settings.text_s,
            memory_bytes=settings.memory_mb * MIB,
        )
    )
    services.push_async_callback(pool.stop)
    return pool
