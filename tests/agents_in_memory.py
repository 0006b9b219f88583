"""Run the agents of both paths over an in-memory stack, event by event, as the log would."""

from collections.abc import Sequence

from agents.corpus.featurize import featurize
from agents.corpus.index import index
from agents.guard.answer import guard_answer
from agents.guard.document import clear_untrusted, report_trusted
from agents.query.admit import admit
from agents.query.answer import answer
from agents.query.read import read
from agents.query.retrieve import retrieve
from millrace.agent import Outputs
from millrace.event import Event
from millrace.events.corpus import AclChanged, ChunksEmbedded, DocumentIndexed, DocumentSettled, SourceChanged
from millrace.events.query import CompletionGenerated, CompletionGuarded, ContextRetrieved, QueryAdmitted, QueryReceived
from tests.builders import events_of, granted, with_meta
from tests.fakes import Stack


async def feature(stack: Stack, *changes: SourceChanged) -> list[tuple[Event, ...]]:
    """Outputs of featurize, with metadata, for one batch."""
    results = await featurize(changes, stack.corpus)
    return [
        tuple(with_meta(event, cause=change, agent="featurize") for event in events_of(result))
        for change, result in zip(changes, results, strict=True)
    ]


async def guarded(stack: Stack, *events: Event) -> list[Event]:
    """Outputs of the agents that scan documents, with metadata."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, ChunksEmbedded):
            outputs, name = await clear_untrusted(event, stack.guard), "clear_untrusted"
        elif isinstance(event, DocumentIndexed):
            outputs, name = await report_trusted(event, stack.guard), "report_trusted"
        else:
            continue
        found += [with_meta(output, cause=event, agent=name) for output in _several(outputs)]
    return found


async def index_parts(stack: Stack, *events: Event) -> list[Event]:
    """Outputs of index, with metadata, for inputs one by one."""
    found: list[Event] = []
    for event in events:
        (result,) = await index([event], stack.corpus)  # type: ignore[list-item]
        found += [with_meta(output, cause=event, agent="index") for output in events_of(result)]
    return found


async def ingest(stack: Stack, *changes: SourceChanged, fold: bool = True) -> list[Event]:
    """Bring changes to their outcomes, fold these, and let index see what it decided."""
    outcomes: list[Event] = []
    for outputs in await feature(stack, *changes):
        parts = [event for event in outputs if isinstance(event, ChunksEmbedded)]
        outcomes += [event for event in outputs if not isinstance(event, ChunksEmbedded)]
        looked_at = await guarded(stack, *parts)
        outcomes += [event for event in looked_at if isinstance(event, DocumentSettled)]
        outcomes += await index_parts(
            stack, *parts, *(event for event in looked_at if isinstance(event, ChunksEmbedded))
        )
    if fold:
        stack.fold(outcomes)
        await index_parts(stack, *(event for event in outcomes if isinstance(event, DocumentIndexed)))
    return outcomes


async def publish(stack: Stack, change: SourceChanged, *groups: str) -> Event:
    """Index one document that some groups may read (everyone, by default)."""
    acl: AclChanged = granted(*(groups or ("*",)), document=change.document, tenant=change.tenant)
    stack.fold([acl])
    return (await ingest(stack, change))[-1]


async def ask(stack: Stack, question: QueryReceived) -> list[Event]:
    """Run the fused question path; every event in the order of publication."""
    log: list[Event] = []
    pending: list[Event] = [question]
    while pending:
        event = pending.pop(0)
        outputs = await stage(stack, event)
        made = [with_meta(output, cause=event, agent="answer_question") for output in outputs]
        log += made
        pending += made
    stack.fold(log)
    return log


async def stage(stack: Stack, event: Event) -> Sequence[Event]:
    """Outputs of the one stage that reads an event, without metadata."""
    ports = stack.query
    if isinstance(event, QueryReceived):
        found = await admit(event, ports)
    elif isinstance(event, QueryAdmitted):
        found = await retrieve(event, ports)
    elif isinstance(event, ContextRetrieved):
        found = await read(event, ports)
    elif isinstance(event, CompletionGenerated):
        found = await guard_answer(event, ports)
    elif isinstance(event, CompletionGuarded):
        found = await answer(event, ports)
    else:
        return []
    return _several(found)


def _several(outputs: Outputs) -> list[Event]:
    return [outputs] if isinstance(outputs, Event) else list(outputs or ())
