"""A right that is taken away holds in questions that run already, and costs neither a model call nor a write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from agents.ports import CorpusPorts, QueryPorts, VisibleSet
from agents.query.answer import answer
from agents.query.read import read
from infra.worker import load_agents
from millrace.agent import AgentSpec, Outputs
from millrace.client import Answer, Millrace
from millrace.errors import RequestFailed, RequestRetracted
from millrace.event import Event
from millrace.events.query import AnswerProduced, CompletionGuarded, Receipt
from millrace.topics import ANSWER_PRODUCED, CHUNKS_EMBEDDED
from tests.system.stacks import AGENTS, Inside, System, replaced_stage

ANIMALS = ("falcon", "otter", "badger", "heron", "lynx", "marmot")
CREW = frozenset({"crew"})
MARIA: Any = {"user": "maria", "groups": CREW, "explain": True}
Change = Callable[[Millrace, str], Awaitable[Receipt]]


def page(animal: str, code: int = 4711) -> str:
    return f"# Vaults\n\nThe access code of the {animal} vault is {code}.\n"


def question(animal: str) -> str:
    return f"What is the access code of the {animal} vault?"


async def publish(millrace: Millrace, *animals: str) -> list[Receipt]:
    receipts = [await millrace.put_document(animal, page(animal), groups=CREW) for animal in animals]
    assert {outcome.outcome for outcome in await millrace.wait(receipts)} == {"indexed"}
    return receipts


def shows(found: Answer | AnswerProduced, animal: str) -> bool:
    documents = [quote.document for quote in found.citations] + [hit.document for hit in found.hits]
    return animal in found.text or animal in documents


@dataclass
class Gate:
    """Holds back the questions of one tenant before a stage."""

    tenant: str
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def before(self, stage: str, function: Callable[[Any, QueryPorts], Awaitable[Outputs]]) -> list[AgentSpec]:
        """All agents, with this gate in front of `function`, which does the stage."""

        async def held(event: Event, ports: QueryPorts) -> Outputs:
            if event.tenant == self.tenant:
                self.arrived.set()
                await self.opened.wait()
            return await function(event, ports)

        return replaced_stage(load_agents(AGENTS), stage, held)


async def revoke(millrace: Millrace, document: str) -> Receipt:
    return await millrace.revoke(document, CREW)


async def delete(millrace: Millrace, document: str) -> Receipt:
    return await millrace.delete_document(document)


async def edit(millrace: Millrace, document: str) -> Receipt:
    return await millrace.put_document(document, page(document, code=1234))


async def ask_while(inside: Inside, gate: Gate, millrace: Millrace, change: Change) -> tuple[str, Answer]:
    """Ask, make a change while the question is held at the gate, let it go once the change is folded."""
    streamed = ""
    asking = millrace.ask_stream(question("falcon"), **MARIA)

    async def follow() -> Answer:
        nonlocal streamed
        async for part in asking:
            if isinstance(part, Answer):
                return part
            streamed += part.text
        raise AssertionError("the stream ended without an answer")

    following = asyncio.create_task(follow())
    try:
        await gate.arrived.wait()
        receipt = await change(millrace, "falcon")
        assert inside.composition.tail is not None
        await inside.composition.tail.wait_for([receipt])
        gate.opened.set()
        return streamed, await following
    except RequestRetracted:
        raise RequestRetracted("retracted", streamed) from None
    finally:
        gate.opened.set()
        following.cancel()


@pytest.mark.parametrize("change", [revoke, delete, edit])
async def test_what_was_quoted_and_is_lost_before_the_end_is_taken_back(
    system: System, tenant: str, change: Change
) -> None:
    gate = Gate(tenant)
    async with system.inside(gate.before("answer", answer)) as inside, system.client(tenant=tenant) as millrace:
        await publish(millrace, "falcon", "otter")
        with pytest.raises(RequestRetracted, match="4711"):  # what had been streamed until then
            await ask_while(inside, gate, millrace, change)
        (record,) = (event for event in system.events(ANSWER_PRODUCED) if event.tenant == tenant)
        assert record.status == "retracted"
        assert not shows(record, "falcon")


async def test_what_is_lost_between_search_and_reading_is_not_quoted(system: System, tenant: str) -> None:
    gate = Gate(tenant)
    async with system.inside(gate.before("read", read)) as inside, system.client(tenant=tenant) as millrace:
        await publish(millrace, "falcon", "otter")
        streamed, found = await ask_while(inside, gate, millrace, revoke)
        assert "falcon" not in streamed
        assert not shows(found, "falcon")


class StandingStill:
    """A visibility table that decides as of a watermark; as of now while it has none."""

    def __init__(self, live: Any, at: str = "") -> None:
        self._live = live
        self.at = at

    def visible(self, tenant: str, principal: Any, **options: Any) -> VisibleSet:
        found: VisibleSet = self._live.visible(tenant, principal, **{**options, "at": self.at or None})
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)


async def answer_without_a_second_look(completion: CompletionGuarded, ports: QueryPorts) -> Outputs:
    as_retrieved = StandingStill(ports.visibility, completion.watermark)
    return await answer(completion, msgspec.structs.replace(ports, visibility=as_retrieved))


async def test_without_the_second_look_the_lost_passage_would_be_answered(system: System, tenant: str) -> None:
    """Control of the two tests above."""
    gate = Gate(tenant)
    specs = gate.before("answer", answer_without_a_second_look)
    async with system.inside(specs) as inside, system.client(tenant=tenant) as millrace:
        await publish(millrace, "falcon", "otter")
        streamed, found = await ask_while(inside, gate, millrace, revoke)
        assert "4711" in streamed
        assert shows(found, "falcon")


class Watched:
    """Counts calls of what it stands in front of."""

    def __init__(self, real: Any, counted: Counter[str], *names: str) -> None:
        self._real = real
        self._counted = counted
        self._names = names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            self._counted[name] += 1
        return getattr(self._real, name)


class Rounds:
    """Documents open and close again and again while many ask for them.

    Attributes
    ----------
    violations : list of str
        Answers that show a document which had been closed since before they were asked for.
    n_closed, n_open : int
        Answers that were looked at for a closed document; answers that had to show an open one.
    """

    def __init__(self, millrace: Millrace, folded: Callable[[Receipt], bool], *, close: Change, reopen: Change) -> None:
        self._millrace = millrace
        self._folded = folded
        self._close = close
        self._reopen = reopen
        self._closed: dict[str, Receipt] = {}
        self._done = False
        self._progress = asyncio.Condition()
        self.violations: list[str] = []
        self.n_closed: Counter[str] = Counter()
        self.n_open = 0

    async def run(self, rounds: int, n_askers: int) -> None:
        """Go through the rounds of every document."""
        async with asyncio.TaskGroup() as askers:
            for n in range(n_askers):
                askers.create_task(self._ask(n))
            try:
                async with asyncio.TaskGroup() as changers:
                    for animal in ANIMALS:
                        changers.create_task(self._change(animal, rounds))
            finally:
                self._done = True

    async def _change(self, animal: str, rounds: int) -> None:
        for _ in range(rounds):
            self._closed[animal] = await self._close(self._millrace, animal)
            wanted = self.n_closed[animal] + 2
            async with self._progress:
                while self.n_closed[animal] < wanted:
                    await self._progress.wait()
            del self._closed[animal]  # from here on an answer may show it
            receipt = await self._reopen(self._millrace, animal)
            while (found := await self._answer(animal, (receipt,))) is None:
                pass  # what it quoted beside this document was lost meanwhile
            self.n_open += 1
            if not any(citation.document == animal for citation in found.citations):
                self.violations.append(f"{animal} is open and was not cited: {found.text!r}")

    async def _answer(self, animal: str, after: tuple[Receipt, ...]) -> Answer | None:
        """Ask once; None where nothing is shown, because it was taken back or the worker is not up to date."""
        try:
            return await self._millrace.ask(question(animal), after=after, **MARIA)
        except RequestFailed as error:
            if error.reason not in {"retracted", "not_ready"}:
                raise
            return None

    async def _ask(self, n: int) -> None:
        """Ask on; every other asker sends no receipts, and is owed what the worker has folded when it asks."""
        sends = n % 2 == 0
        while not self._done:
            n += 1
            animal = ANIMALS[n % len(ANIMALS)]
            closed = {name: by for name, by in self._closed.items() if sends or self._folded(by)}
            after = tuple(closed.values()) if sends else ()
            found = await self._answer(animal, after)
            for name, receipt in closed.items():
                if found is not None and self._closed.get(name) is receipt:
                    self.n_closed[name] += 1
                    if shows(found, name):
                        self.violations.append(f"{name} was closed by {receipt} and shows in {found.text!r}")
            async with self._progress:
                self._progress.notify_all()


async def grant(millrace: Millrace, document: str) -> Receipt:
    return await millrace.grant(document, CREW)


async def rounds(
    system: System, tenant: str, n_rounds: int, *, close: Change, reopen: Change, stands_still: bool = False
) -> tuple[Rounds, Mapping[str, int]]:
    """Run rounds, on request with questions that see the table of their beginning; and what was written meanwhile."""
    counted: Counter[str] = Counter()
    tables: list[StandingStill] = []

    def ports_of(_: AgentSpec, ports: Any) -> Any:
        if isinstance(ports, QueryPorts):
            tables.append(StandingStill(ports.visibility))
            return msgspec.structs.replace(ports, visibility=tables[0])
        vectors = Watched(ports.vectors, counted, "upsert", "archive", "restore", "delete")
        if isinstance(ports, CorpusPorts):
            return msgspec.structs.replace(ports, vectors=vectors, embedder=Watched(ports.embedder, counted, "embed"))
        return ports

    specs = [spec for spec in load_agents(AGENTS) if spec.name != "measure_statistics"]
    async with system.inside(specs, ports_of) as inside, system.client(tenant=tenant) as millrace:
        receipts = await publish(millrace, *ANIMALS)
        tail = inside.composition.tail
        assert tail is not None
        await tail.wait_for(receipts)
        tables[0].at = tail.watermark() if stands_still else ""
        n_embedded = system.n_records(CHUNKS_EMBEDDED)
        counted.clear()
        found = Rounds(millrace, tail.resolved, close=close, reopen=reopen)
        await found.run(n_rounds, n_askers=8)
        return found, {**counted, "ChunksEmbedded": system.n_records(CHUNKS_EMBEDDED) - n_embedded}


async def test_revoked_documents_are_not_shown_to_questions_asked_since_and_cost_no_write(
    system: System, tenant: str
) -> None:
    found, written = await rounds(system, tenant, 5, close=revoke, reopen=grant)
    assert found.violations == []
    assert found.n_open == 5 * len(ANIMALS)
    assert min(found.n_closed[animal] for animal in ANIMALS) >= 10
    assert written == {"ChunksEmbedded": 0}


async def test_deleted_documents_are_not_shown_to_questions_asked_since(system: System, tenant: str) -> None:
    found, _ = await rounds(system, tenant, 3, close=delete, reopen=edit)
    assert found.violations == []
    assert found.n_open == 3 * len(ANIMALS)


async def test_questions_that_see_an_earlier_table_show_revoked_documents(system: System, tenant: str) -> None:
    """Control of the two tests above."""
    found, _ = await rounds(system, tenant, 1, close=revoke, reopen=grant, stands_still=True)
    assert any("was closed by" in violation for violation in found.violations)
