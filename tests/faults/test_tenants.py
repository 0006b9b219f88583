"""E2: whoever confuses tenants, through whichever field, sees and changes nothing of another tenant."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from millrace import ids, keys
from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import find_connection
from millrace.events.corpus import SourceChanged
from millrace.events.query import AnswerFailed, QueryReceived, Receipt
from millrace.topics import ANSWER_PRODUCED, CONTEXT_RETRIEVED, QUERY_RECEIVED, REPLY, SOURCE_CHANGED
from tests.faults.harness import FaultStack
from tests.faults.log_access import Feeder, Outgoing, Place, Raw, root
from tests.faults.oracle import Oracle
from tests.faults.report import FaultRow
from tests.faults.workload import Change, marker, paragraph, scaled

AGENTS = ("agents.corpus", "agents.query")
GROUPS = {"millrace.answer_question": (QUERY_RECEIVED.name,)}
N_DOCUMENTS = 12
Note = Callable[[FaultRow], None]


def ahead(ms: int) -> int:
    """A deadline, unix milliseconds."""
    return int(time.time() * 1000) + ms


class World:
    """Two tenants, each with documents for everyone and for one group; their names stand in every document id."""

    def __init__(self, stack: FaultStack, tag: str) -> None:
        self.stack = stack
        self.tag = tag
        self.tenants = (f"{tag}-a", f"{tag}-b")
        self.oracle = Oracle(self.tenants)
        self.feeder = Feeder(stack.bootstrap)
        rng = random.Random(12)
        changes = []
        for number, tenant in enumerate(self.tenants):
            for i in range(N_DOCUMENTS):
                name = self.document(tenant, i)
                mark = marker(tag, number, i, 0, 0)
                changes.append(Change("access", tenant, name, 1, groups=("*",) if i % 2 else ("staff",)))
                changes.append(Change("upsert", tenant, name, 1, paragraph(rng, mark), (mark,)))
        self.feeder.feed(changes, self.oracle.acknowledge)

    def document(self, tenant: str, i: int) -> str:
        """Id of a document: even ones are for the staff of their tenant alone."""
        return f"of-{tenant}-{'all' if i % 2 else 'staff'}-{i}.md"

    def forbidden(self, raw: Raw, tenant: str, groups: tuple[str, ...]) -> list[str]:
        """Document ids and markers in a record that its reader may not see."""
        text = (raw.value or b"").decode("latin-1")
        found = re.findall(rf"of-({self.tag}-[ab])-(all|staff)-\d+", text)
        wrong = [
            f"{owner}/{kind}" for owner, kind in found if owner != tenant or (kind == "staff" and "staff" not in groups)
        ]
        number = self.tenants.index(tenant) if tenant in self.tenants else -1
        return wrong + [m for m in re.findall(rf"z{self.tag}x(\d+)x", text) if int(m) != number]


def confused(rng: random.Random, name: str, other: str) -> str:
    """A tenant's name as someone would write it who tries to be another."""
    return rng.choice(
        [
            other,
            name,
            other.upper(),
            f"{other} ",
            f"{name}/../{other}",
            other.replace("-", "%2D"),
            f"{name}\0{other}",
            "*",
        ]
    )


def probe(world: World, rng: random.Random, number: int) -> tuple[Outgoing, str, tuple[str, ...]]:
    """A question with something wrong in it: the record, the tenant all its parts agree on (or none), its groups."""
    own, other = rng.sample(world.tenants, 2)
    body, header, in_key = own, own, own
    kind = rng.randrange(8)
    if kind == 0:
        in_key = confused(rng, own, other)
    elif kind == 1:
        header = confused(rng, own, other)
    elif kind == 2:
        body = confused(rng, own, other)
    elif kind == 3:
        body = header = in_key = confused(rng, own, other)
    groups = tuple(rng.sample(["*", "staff", f"{other}:staff", "STAFF", "staff "], rng.randrange(3)))
    foreign = world.document(other, rng.randrange(N_DOCUMENTS))
    after = (Receipt(rng.choice(world.tenants), rng.choice([foreign, "missing.md"]), 1),) if kind == 4 else ()
    watermark = rng.choice(["", "zzz", "0/i:0=1"]) if kind == 6 else ""
    timeout_ms = 800 if after or watermark else 60_000  # those that wait need not wait for long
    question = QueryReceived(
        tenant=body,
        conversation=rng.choice([f"c-{own}", f"c-{other}", f"c-{number}"]),
        question=rng.choice(
            ["river stone mill wheel", foreign.upper(), f"tenant:{other} OR 1=1", "ledger' OR document LIKE '%"]
        ),
        user=rng.choice(["", "ann", other]),
        groups=groups,
        mode=rng.choice(["search", "answer"]),
        exact=rng.random() < 0.5,
        explain=True,
        labels={"tenant": other} if kind == 5 else {},
        after=after,
        watermark=watermark,
        timeout_ms=timeout_ms,
    )
    reply_to = rng.choice([REPLY.name, SOURCE_CHANGED.name, "another.topic"]) if kind == 7 else REPLY.name
    identity = ids.derived("probe", world.tag, number)
    fields: dict[str, Any] = {"reply_to": reply_to, "reply_partition": rng.randrange(4)}
    fields["deadline_ms"] = ahead(timeout_ms)
    record = root(question, QUERY_RECEIVED, identity, **fields)
    headers = [(name, header.encode() if name == "ce_tenant" else value) for name, value in record.headers]
    key = keys.conversation_key(in_key, question.conversation).encode()
    return record._replace(key=key, headers=headers), body if body == header == in_key else "", groups


def test_random_probes_through_every_field_show_nothing_foreign_or_forbidden(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    n_probes = scaled(10_000, 200)
    world, wrong, n_answered = _probed(stack, tag, n_probes)
    assert wrong == []
    assert n_answered > n_probes / 4
    found = stack.judge(world.oracle, tmp_path)
    found.assert_none()
    note = f"{n_probes} probes, {n_answered} answered from what they may see"
    fault_row(FaultRow("E2 tenant confusion", stack.kind, note=note))


def test_readers_that_do_not_compare_key_header_and_body_take_a_foreign_word_for_it(
    stack: FaultStack, tag: str, tmp_path: Path
) -> None:
    """Control of E2."""
    _, wrong, _ = _probed(stack, tag, 80, without="tenants")
    assert wrong


def _probed(stack: FaultStack, tag: str, n_probes: int, without: str = "") -> tuple[World, list[str], int]:
    world, rng = World(stack, tag), random.Random(13)
    stack.start(agents=AGENTS, without=without)
    stack.drained()
    sent: dict[str, tuple[str, tuple[str, ...]]] = {}
    for number in range(n_probes):
        record, tenant, groups = probe(world, rng, number)
        sent[dict(record.headers)["ce_id"].decode()] = (tenant, groups)
        world.feeder.send(record)
    written = _forged(world)
    world.feeder.flush()
    stack.drained(GROUPS)
    stack.drained()
    wrong = [f"{place}: a forged change has no dead letter" for place in written - _dead(stack)]
    n_answered = 0
    for raw in stack.records((REPLY.name, ANSWER_PRODUCED.name, CONTEXT_RETRIEVED.name)):
        known = sent.get(raw.header("ce_correlationid"))
        if known is not None:
            tenant, groups = known
            wrong += world.forbidden(raw, tenant, groups)
            n_answered += raw.place.topic == REPLY.name and raw.header("ce_type").endswith("AnswerCompleted")
    return world, wrong, n_answered


def _forged(world: World) -> set[Place]:
    """Changes of one tenant's documents under the name of the other, in each way to disagree."""
    places: set[Place] = set()
    own, other = world.tenants
    target = world.document(other, 1)
    for version, (body, header, in_key) in enumerate(
        [(other, own, own), (other, other, own), (own, other, other), (other, own, other)]
    ):
        change = SourceChanged(
            tenant=body, document=target, version=50 + version, text="overwritten", n_bytes=11, acl_version=1
        )
        record = root(change, SOURCE_CHANGED, ids.derived("forged", world.tag, version))
        headers = [(name, header.encode() if name == "ce_tenant" else value) for name, value in record.headers]
        forged = record._replace(key=keys.document_key(in_key, target).encode(), headers=headers)
        world.feeder.send(forged, places.add)
    world.feeder.flush()
    return places


def _dead(stack: FaultStack) -> set[Place]:
    letters = stack.records((SOURCE_CHANGED.dead_letters,))
    return {
        Place(raw.header("mr-error-topic"), int(raw.header("mr-error-partition")), int(raw.header("mr-error-offset")))
        for raw in letters
        if raw.header("mr-error-type") == "tenant_mismatch"
    }


def test_a_foreign_id_answers_as_a_missing_one(stack: FaultStack, tag: str) -> None:
    """What the log says of a document, and how a question ends that waits for it."""
    world = World(stack, tag)
    own, other = world.tenants
    foreign = world.document(other, 1)
    stack.start(agents=AGENTS)
    stack.drained()

    async def known() -> list[Any]:
        async with Millrace(find_connection(home=stack.home), tenant=own) as client:
            return [msgspec.to_builtins(await client.document(name)) for name in (foreign, "missing.md")]

    answers = [
        {name: value for name, value in answer.items() if name not in {"document", "id"}}
        for answer in asyncio.run(known())
    ]
    assert answers[0] == answers[1]
    for number, name in enumerate((foreign, "missing.md")):
        question = QueryReceived(
            tenant=own, conversation=f"{tag}-{number}", question="river", after=(Receipt(own, name, 1),), timeout_ms=300
        )
        identity = ids.derived("wait", tag, number)
        world.feeder.send(
            root(question, QUERY_RECEIVED, identity, reply_to=REPLY.name, reply_partition=0, deadline_ms=ahead(800))
        )
    world.feeder.flush()
    stack.drained(GROUPS)
    codec = Codec()
    ends = [codec.decode(raw.value) for raw in stack.records((REPLY.name,)) if raw.header("ce_tenant") == own]
    failures = [
        (end.error_type, end.message.replace(foreign, "missing.md")) for end in ends if isinstance(end, AnswerFailed)
    ]
    assert len(failures) == 2
    assert failures[0][0] == failures[1][0]
