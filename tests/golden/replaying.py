"""Run what a golden log's people and sources sent through today's agents, and compare what comes out with the log.

Each input meets the state that was recorded before it: the versions, rows and access of then, whatever today's agents
made of earlier inputs. So one difference is counted once, and does not spread over all that comes after it.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from agents.corpus.featurize import featurize
from agents.corpus.index import index
from agents.corpus.rows_codec import decode_rows
from agents.guard.document import clear_untrusted, report_trusted
from agents.learn.quality import score_quality
from agents.ports import Rank
from agents.query import answer_question
from inference.injection.quick import quick
from inference.injection.scanner import Scanner
from inference.personal_data import PersonalDataFinder
from millrace.agent import spec_of
from millrace.codec import Codec
from millrace.errors import MillraceError, Unreadable
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentIndexed
from millrace.events.query import AnswerProduced, QueryReceived
from millrace.findings import Finding, Scan
from millrace.invoke import Invoker, Output, Progress
from millrace.parsed import ParsedSource
from millrace.topics import (
    ACL_CHANGED,
    ANSWER_PRODUCED,
    CATALOGUE,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    QUERY_RECEIVED,
    REPLY,
    SOURCE_CHANGED,
)
from streams.parsing.language import language
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.reading import read
from tests.fakes import CountingEmbedder, MemoryVectors, Stack
from tools.golden.log import GoldenLog

INPUTS = (ACL_CHANGED, SOURCE_CHANGED, QUERY_RECEIVED)
MEASURED = frozenset({"timings_ms", "watermark"})
"""What a replay cannot repeat: how long it took, and where the records happened to stand."""
_CORPUS = (spec_of(featurize), spec_of(clear_untrusted), spec_of(report_trusted), spec_of(index))
_OUTPUTS = {topic.name for spec in (*_CORPUS, *answer_question.stages) for topic in spec.sinks} - {REPLY.name}
_DIM = 384

Identity = tuple[str, str, str, str, int]


class Difference(NamedTuple):
    """How many outputs on a topic differ in a field; ``missing`` and ``extra`` stand for whole outputs."""

    topic: str
    field: str


class InProcessParser:
    """Today's readers of HTML, tables and records, without the child processes around them."""

    async def parse(self, content: Callable[[], Any], media_type: str) -> ParsedSource:
        try:
            return read(await content(), media_type, ParserLimits())
        except Refused as refused:
            raise Unreadable(refused.reason, refused.message) from refused

    def language(self, text: str) -> str:
        return language(text)


@dataclass
class InProcessScanner:
    """Today's rules for orders to a model, without the child processes around them."""

    rules: Scanner = field(default_factory=Scanner)

    def quick(self, text: str) -> Sequence[Finding]:
        return quick(text)

    def begin(self, text: str, rank: Rank) -> None:
        """Scan when asked for."""

    async def scan(self, text: str, rank: Rank) -> Scan:
        return self.rules.scan(text)


def stack_of(log: GoldenLog, scanner: InProcessScanner, **policies: Any) -> Stack:
    """An in-memory stack with the rules and readers of a real one, and the objects that were put up beside the log."""
    stack = Stack(
        embedder=CountingEmbedder(_DIM),
        parser=InProcessParser(),  # type: ignore[arg-type]
        scanner=scanner,  # type: ignore[arg-type]
        personal_data=PersonalDataFinder(),  # type: ignore[arg-type]
        **policies,
    )
    stack.objects.objects.update(log.objects)
    return stack


def events_of(log: GoldenLog, *topics: str) -> Iterator[tuple[str, Event]]:
    """Events on topics, by topic, partition and offset; what is none is passed over."""
    codec = Codec()
    for record in log.of(*topics):
        try:
            yield (
                record.topic,
                codec.read(CATALOGUE[record.topic], record.key, record.value, record.headers, record.origin),
            )
        except MillraceError:
            continue


def inputs_of(log: GoldenLog) -> list[Event]:
    """What was sent, in the order in which it was: each step of the scenario waited for the one before."""
    order = {topic.name: number for number, topic in enumerate(INPUTS)}
    times = {record.origin: record.timestamp_ms for record in log.of(*order)}
    void = _void(log)
    found = [(topic, event) for topic, event in events_of(log, *order) if event.meta.correlation_id not in void]
    found.sort(key=lambda each: (times[each[1].meta.origin], order[each[0]]))  # type: ignore[index]
    return [event for _, event in found]


class Replay:
    """Agents over an in-memory stack."""

    def __init__(self, stack: Stack, log: GoldenLog) -> None:
        self.emitted: list[tuple[str, Event]] = []
        self._stack = stack
        self._corpus_ports = msgspec.structs.replace(stack.corpus, vectors=MemoryVectors())
        self._query_ports = msgspec.structs.replace(stack.query, n_reply_partitions=log.partitions[REPLY.name])
        self._outcomes: dict[str, list[Event]] = defaultdict(list)
        for _, outcome in events_of(log, DOCUMENT_INDEXED.name, DOCUMENT_SETTLED.name):
            self._outcomes[outcome.meta.correlation_id].append(outcome)
        self._corpus = [Invoker(spec, wall_ms=lambda: 0.0) for spec in _CORPUS]
        self._question = Invoker(answer_question, wall_ms=lambda: 0.0)

    async def run(self, inputs: Sequence[Event]) -> list[tuple[str, Event]]:
        """Everything that was emitted."""
        for event in inputs:
            if isinstance(event, AclChanged):
                self._stack.fold([event])
            elif isinstance(event, QueryReceived):
                await self._ask(event)
            else:
                await self._change(event)
                await self._become(self._outcomes[event.meta.id])
        return self.emitted

    async def _become(self, outcomes: Sequence[Event]) -> None:
        """Take over what was recorded of a change: its outcome, and the rows of its version as they were written."""
        self._stack.fold(outcomes)
        for outcome in outcomes:
            if isinstance(outcome, DocumentIndexed):
                for ref in outcome.objects:
                    await self._stack.vectors.upsert(decode_rows(await self._stack.objects.get(ref)))

    async def _ask(self, question: QueryReceived) -> None:
        async def emit(_: str, outputs: Sequence[Output]) -> None:
            self._keep(outputs)
            self._stack.fold(output.event for output in outputs)

        await self._question.run(question, self._query_ports, emit, Progress())

    async def _change(self, change: Event) -> None:
        waiting: deque[tuple[str, Event]] = deque([(SOURCE_CHANGED.name, change)])
        while waiting:
            topic, event = waiting.popleft()
            for invoker in self._corpus:
                if any(source.name == topic for source in invoker.spec.sources):
                    outputs = await self._outputs(invoker, event)
                    self._keep(outputs)
                    waiting += [(output.topic.name, output.event) for output in outputs]

    async def _outputs(self, invoker: Invoker, event: Event) -> list[Output]:
        if invoker.spec.form == "batch":
            [found] = await invoker.run_batch([event], self._corpus_ports)
            if isinstance(found, BaseException):
                raise found
            return found
        held: list[Output] = []

        async def emit(_: str, outputs: Sequence[Output]) -> None:
            held.extend(outputs)

        await invoker.run(event, self._stack.guard, emit, Progress())
        return held

    def _keep(self, outputs: Sequence[Output]) -> None:
        self.emitted += [(output.topic.name, output.event) for output in outputs]


async def differences(
    log: GoldenLog, stack: Stack, ignore: Collection[str] = MEASURED
) -> tuple[Counter[Difference], int]:
    """How often outputs of today differ from those on the log, by topic and field; and how many were compared."""
    now = identified(await Replay(stack, log).run(inputs_of(log)))
    void = _void(log)
    recorded = [each for each in events_of(log, *_OUTPUTS) if each[1].meta.correlation_id not in void]
    follows = sources_of([score_quality])
    then = identified([(topic, event) for topic, event in recorded if event.meta.source not in follows])
    found: Counter[Difference] = Counter()
    for identity in then.keys() | now.keys():
        topic, old, new = identity[0], then.get(identity), now.get(identity)
        if old is None or new is None:
            found[Difference(topic, "extra" if old is None else "missing")] += 1
        else:
            found.update(Difference(topic, name) for name in _changed(old, new, ignore))
    return found, len(then.keys() & now.keys())


def identified(events: Sequence[tuple[str, Event]]) -> dict[Identity, Event]:
    """Outputs by what they are about: an id names agents too, and would tell a renamed one from what it is.

    Copies are passed over: the first record of an id is the truth.
    """
    seen: Counter[tuple[str, str, str, str]] = Counter()
    found: dict[Identity, Event] = {}
    ids: set[str] = set()
    for topic, event in events:
        if topic not in _OUTPUTS or event.meta.id in ids:
            continue
        ids.add(event.meta.id)
        about = (topic, type(event).__name__, event.meta.correlation_id, event.slot())
        found[*about, seen[about]] = event
        seen[about] += 1
    return found


def sources_of(agents: Iterable[Callable[..., Any]]) -> set[str]:
    """What the events that these agents write name as their source."""
    return {f"millrace/agent/{spec_of(each).name}" for each in agents}


def _void(log: GoldenLog) -> set[str]:
    """Correlation ids of attempts that failed, on a machine that was too slow, and were made again by the client."""
    ends = [event for _, event in events_of(log, ANSWER_PRODUCED.name) if isinstance(event, AnswerProduced)]
    return {end.correlation for end in ends if end.status == "failed"}


def _changed(old: Event, new: Event, ignore: Collection[str]) -> list[str]:
    found: list[str] = []
    for name in old.__struct_fields__:
        if name not in ignore:
            found += _parts(name, getattr(old, name), getattr(new, name))
    return found if old.meta.id == new.meta.id else [*found, "ce_id"]


def _parts(name: str, old: Any, new: Any) -> list[str]:
    """Name of a field that differs; for equally many hits, citations or chunks, that of what differs in them."""
    if old == new:
        return []
    if not (isinstance(old, tuple) and len(old) == len(new) and all(isinstance(each, msgspec.Struct) for each in old)):
        return [name]
    pairs = [(msgspec.structs.asdict(one), msgspec.structs.asdict(other)) for one, other in zip(old, new, strict=True)]
    return [f"{name}.{part}" for part in pairs[0][0] if any(one[part] != other[part] for one, other in pairs)]
