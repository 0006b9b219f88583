"""From every quote a way leads back to the characters it was taken from, and every record says whose it is."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable
from typing import Any

from typer.testing import CliRunner

from agents.ports import QueryPorts
from agents.query.retrieve import retrieve
from infra.worker import load_agents
from millrace.agent import Outputs
from millrace.cli import app
from millrace.client import Answer, Millrace
from millrace.codec import Record
from millrace.dead_letters import Letter, replayed
from millrace.errors import RequestFailed
from millrace.event import Meta
from millrace.events.corpus import DocumentIndexed, SourceChanged
from millrace.events.query import Citation, QueryAdmitted
from millrace.ids import root_id
from millrace.keys import document_key
from millrace.lineage import QuestionTrace, Source, question_trace
from millrace.objects import ObjectFolder
from millrace.reader import RawRecord
from millrace.topics import (
    ANSWER_PRODUCED,
    CATALOGUE,
    CHUNKS_EMBEDDED,
    DOCUMENT_INDEXED,
    QUERY_RECEIVED,
    SOURCE_CHANGED,
    Topic,
)
from tests.faults.log_access import lag, until
from tests.system.stacks import AGENTS, System, replaced_stage

CITIES = ("Lisbon", "Kraków", "Tromsø", "Ghent", "Oulu", "Cádiz", "Bergen", "Turin", "Graz", "Łódź")
GROUPS = {"millrace.answer_question": (QUERY_RECEIVED.name,), "millrace.meter": (ANSWER_PRODUCED.name,)}
THINGS = ("north gate", "copper bell", "salt market", "night ferry", "glass archive")
PATH = tuple(topic for topic in CATALOGUE.values() if topic.group in {"query", "reply"} or "usage.answer" in topic.name)
CORPUS = tuple(topic for topic in CATALOGUE.values() if topic.group == "corpus")
STAGES = ("QueryReceived", "QueryAdmitted", "ContextRetrieved", "CompletionGenerated", "AnswerProduced")


def page(city: str, *, note: str = "") -> str:
    """A page with a section for each thing; line ends as different systems write them."""
    parts = [f"# {city}", note]
    for n, thing in enumerate(THINGS):
        parts += [
            f"## The {thing}",
            f"Visitors like it – “très bien”. The {thing} of {city} opens at {n + 5} o'clock. It closes at noon.",
        ]
    return ("\r\n\r\n" if city < "H" else "\n\n").join(part for part in parts if part)


def questions() -> list[tuple[str, str, str]]:
    """Question, document that answers it, words that the answer must hold."""
    return [
        (f"When does the {thing} of {city} open?", f"{city}.md", f"opens at {n + 5} o'clock")
        for city in CITIES
        for n, thing in enumerate(THINGS)
    ]


async def publish(millrace: Millrace) -> None:
    """All pages; every other one in a second version, so that unchanged chunks are older than their version."""
    first = [await millrace.put_document(f"{city}.md", page(city), groups=["*"]) for city in CITIES]
    await millrace.wait(first)
    second = [await millrace.put_document(f"{city}.md", page(city, note="Revised.")) for city in CITIES[::2]]
    assert {outcome.outcome for outcome in await millrace.wait(second)} == {"indexed"}


class Log:
    """Visible versions and changes by position, read apart from what is under test."""

    def __init__(self, system: System) -> None:
        self.indexed: dict[str, DocumentIndexed] = {str(e.meta.origin): e for e in system.events(DOCUMENT_INDEXED)}
        self.changes: dict[str, SourceChanged] = {str(e.meta.origin): e for e in system.events(SOURCE_CHANGED)}
        folder = system.connection.objects_folder
        assert folder is not None
        self._objects = ObjectFolder(folder)

    def check(self, citation: Citation, source: Source) -> None:
        """Walk from a quote to chunk, version, change and stored characters."""
        version = self.indexed[source.indexed_at]
        assert (version.document, version.version) == (citation.document, citation.version)
        (chunk,) = [chunk for chunk in version.chunks if chunk.id == citation.chunk_id]
        assert chunk.start <= citation.start < citation.end <= chunk.end
        assert version.headings[chunk.heading] == citation.heading
        assert version.title == citation.title
        text = self._objects.get_sync(version.text or "").decode()
        assert text[citation.start : citation.end] == citation.quote
        assert self._objects.get_sync(version.objects[chunk.object])
        assert version.source_position == source.source_position
        change = self.changes[source.source_position]
        assert change.meta.id == source.source_event
        assert (change.document, change.version) == (citation.document, citation.version)
        assert citation.quote in (change.text or "")


def source_of(trace: QuestionTrace, citation: Citation) -> Source:
    (found,) = [
        source
        for source in trace.sources
        if (source.chunk_id, source.document, source.version)
        == (citation.chunk_id, citation.document, citation.version)
    ]
    return found


def check_path(trace: QuestionTrace, found: Answer) -> None:
    """Everything between question and answer is there, and each event names the one that caused it."""
    kinds = [entry.type for entry in trace.entries]
    assert [kind for kind in kinds if kind in STAGES] == list(STAGES)
    assert kinds.count("AnswerDelta") == len(found.citations)
    assert kinds.count("AnswerCompleted") == 1
    ids = {entry.id for entry in trace.entries}
    assert [entry.type for entry in trace.entries if entry.causation_id not in ids] == ["QueryReceived"]


async def test_every_quote_leads_back_to_the_characters_it_was_taken_from(system: System, tenant: str) -> None:
    async with system.inside(), system.client(tenant=tenant) as millrace:
        await publish(millrace)
        asked = questions()
        found = await asyncio.gather(*(millrace.ask(question) for question, _, _ in asked))
    log = Log(system)
    for (_, document, words), answer in zip(asked, found, strict=True):
        assert any(quote.document == document and words in quote.quote for quote in answer.citations)
        trace = question_trace(system.connection, answer.trace_id)
        assert trace.correlation_id == answer.correlation_id
        check_path(trace, answer)
        assert {source.chunk_id for source in trace.sources} == {quote.chunk_id for quote in answer.citations}
        for citation in answer.citations:
            log.check(citation, source_of(trace, citation))
    assert {citation.version for answer in found for citation in answer.citations} == {1, 2}


async def test_the_command_prints_the_way_back(system: System, tenant: str) -> None:
    async with system.inside(), system.client(tenant=tenant) as millrace:
        await millrace.wait(await millrace.put_document("Oulu.md", page("Oulu"), groups=["*"]))
        answer = await millrace.ask("When does the copper bell of Oulu open?")
    arguments = ["--home", str(system.settings.home), "trace", answer.trace_id, "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    (citation,) = answer.citations
    log = Log(system)
    for source in printed["sources"]:
        log.check(citation, Source(**source))
    assert len(printed["sources"]) == 1


def told(record: RawRecord) -> tuple[str, str, str]:
    """Trace, tenant and correlation of a record."""
    return record.header("traceparent").split("-")[1], record.header("ce_tenant"), record.header("ce_correlationid")


def of_tenant(records: Iterable[RawRecord], tenant: str) -> list[RawRecord]:
    """Records of a tenant, known by their keys alone."""
    return [record for record in records if (record.key or b"").startswith(f"t/{tenant}".encode())]


def letters(system: System, topic: Topic, tenant: str) -> list[Letter]:
    return [Letter.of(record) for record in of_tenant(system.records([topic.dead_letters]), tenant)]


async def wait_until(condition: Any, timeout_s: float = 20.0) -> None:
    await asyncio.to_thread(until, condition, timeout_s)


async def test_trace_tenant_and_correlation_stand_on_every_record_of_a_question_and_of_its_replay(
    system: System, tenant: str
) -> None:
    """C5. Half of the questions fail, are dead-lettered, and are put back, twice, once the cause is gone."""
    mended = asyncio.Event()

    async def retrieve_or_fail(question: QueryAdmitted, ports: QueryPorts) -> Outputs:
        if question.tenant == tenant and "Graz" in question.question and not mended.is_set():
            raise KeyError("a mistake of the agent's author")
        return await retrieve(question, ports)

    meter = [spec for spec in load_agents(["agents.usage"]) if spec.form != "keyed"]
    specs = [*replaced_stage(load_agents(AGENTS), "retrieve", retrieve_or_fail), *meter]
    async with system.inside(specs), system.client(tenant=tenant) as millrace:
        await publish(millrace)
        asked = [question for question, _, _ in questions() if "Graz" in question or "Oulu" in question] * 5
        results = await asyncio.gather(*(millrace.ask(question) for question in asked), return_exceptions=True)
        answered = {result.correlation_id for result in results if isinstance(result, Answer)}
        assert sum(isinstance(result, RequestFailed) for result in results) == len(asked) // 2 == len(answered)
        found = letters(system, QUERY_RECEIVED, tenant)
        assert len(found) == len(asked) // 2
        mended.set()
        back = [replayed(letter) for letter in found]
        for record in (*back, *back):
            await millrace.produce_record(record)
        renamed = {dict(record.headers)["ce_correlationid"].decode() for record in back}

        await wait_until(lambda: not lag(system.stack.bootstrap, GROUPS))
    traces = {letter.header("ce_correlationid"): letter.header("traceparent").split("-")[1] for letter in found}
    assert {letter.header("ce_tenant") for letter in found} == {tenant}
    assert [letter.error["trace-id"] for letter in found] == list(traces.values())
    allowed = {(trace, tenant, trace) for trace in (answered | traces.keys())}
    allowed |= {
        (trace, tenant, dict(record.headers)["ce_correlationid"].decode())
        for trace, record in zip(traces.values(), back, strict=True)
    }
    records = of_tenant(system.records([*PATH]), tenant)
    assert {told(record) for record in records} == allowed
    answers = [record.header("ce_correlationid") for record in records if record.topic == ANSWER_PRODUCED.name]
    assert sorted(answers) == sorted([*answered, *traces, *renamed]), "each question ends once, put back twice or not"


async def test_trace_tenant_and_correlation_stand_on_every_record_of_a_document_and_of_its_dead_letter(
    system: System, tenant: str
) -> None:
    trace, correlation = secrets.token_hex(16), secrets.token_hex(16)
    traceparent = f"00-{trace}-{secrets.token_hex(8)}-01"
    change = SourceChanged(tenant=tenant, document="Graz.md", version=1, text=page("Graz"))
    meta = Meta(
        id=root_id(change.source, tenant, change.document, 0, 1),
        type=SourceChanged.type_name(),
        source="test",
        time_us=1_700_000_000_000_000,
        tenant=tenant,
        correlation_id=correlation,
        traceparent=traceparent,
    )
    headers = {"traceparent": traceparent, "ce_tenant": tenant, "ce_correlationid": correlation}
    poison = Record(
        topic=SOURCE_CHANGED.name,
        key=document_key(tenant, "poison.md").encode(),
        value=b"\x00 this is no event",
        headers=[(name, value.encode()) for name, value in headers.items()],
        partition=None,
    )
    async with system.inside(), system.client(tenant=tenant) as millrace:
        produced = await millrace.produce(change.with_meta(meta))
        assert produced.receipt is not None
        await millrace.wait(produced.receipt)
        await millrace.produce_record(poison)
        await wait_until(lambda: letters(system, SOURCE_CHANGED, tenant))
        await millrace.produce_record(replayed(letters(system, SOURCE_CHANGED, tenant)[0]))
        await wait_until(lambda: len(letters(system, SOURCE_CHANGED, tenant)) == 2)
    for letter in letters(system, SOURCE_CHANGED, tenant):
        assert headers.items() <= {(name, letter.header(name)) for name in headers}
        assert letter.error["trace-id"] == trace
    records = of_tenant(system.records(CORPUS), tenant)
    assert {told(record) for record in records} == {(trace, tenant, correlation)}
    assert {record.topic for record in records} >= {SOURCE_CHANGED.name, CHUNKS_EMBEDDED.name, DOCUMENT_INDEXED.name}
