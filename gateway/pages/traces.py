"""Traces: the newest questions, and what the log holds about one of them, as a tree in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from gateway.masking import Mask, beginning
from gateway.pages.rendering import Site
from gateway.problems import missing
from gateway.service import Service
from gateway.settings import GatewaySettings
from millrace.events.query import AnswerProduced, QueryReceived
from millrace.lineage import Entry, QuestionTrace

_NEWEST: Final = 50
_LONGEST: Final = 1000
"""Characters of a question that are looked at for a line of the list."""
_WIDTH: Final = 1000
_MAX_DEPTH: Final = 6
_STAGES: Final[Mapping[str, str]] = {
    "QueryReceived": "Asked",
    "QueryAdmitted": "Let in",
    "QueryCancelled": "Given up",
    "ContextRetrieved": "Passages found",
    "CompletionGenerated": "Answer made",
    "AnswerProduced": "Answered",
    "AnswerDelta": "Piece sent",
    "AnswerCompleted": "Answer sent",
    "AnswerFailed": "Failure sent",
    "AnswerRetracted": "Taken back",
    "UsageMetered": "Usage counted",
    "VerdictGiven": "Verdict",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a trace on its page: what, when, and its bar between the cause and itself.

    Attributes
    ----------
    x, width : float
        Of the bar, in thousandths of the whole time.
    after_ms, took_ms : int
        Since the question, and since the cause.
    fields : tuple of (str, str)
        The event's own, those that say something.
    """

    stage: str
    what: str
    depth: int
    time: str
    position: str
    id: str
    x: float
    width: float
    after_ms: int
    took_ms: int
    fields: tuple[tuple[str, str], ...]


def add(router: APIRouter, site: Site, service: Service, _settings: GatewaySettings) -> None:
    """Add the pages of questions that were asked."""
    library = service.library

    @router.get("/traces")
    async def newest(request: Request) -> Response:
        visitor = await site.visitor(request)
        found = await library.questions(visitor.identity, limit=_NEWEST)
        # Masking looks at every word: not on the event loop, here and below.
        questions = await asyncio.to_thread(lambda: [beginning(each.question, site.mask, _LONGEST) for each in found])
        return site.page(request, "traces.html", visitor, found=list(zip(found, questions, strict=True)))

    @router.get("/traces/{name}")
    async def one(request: Request, name: Annotated[str, Path(max_length=200)]) -> Response:
        visitor = await site.visitor(request)
        trace = await library.trace(visitor.identity, name)
        if trace is None:
            raise missing("question of yours")
        answer = next((each.event for each in trace.entries if isinstance(each.event, AnswerProduced)), None)
        asked = next((each.event for each in trace.entries if isinstance(each.event, QueryReceived)), None)
        return site.page(
            request,
            "trace.html",
            visitor,
            trace=trace,
            steps=await asyncio.to_thread(steps, trace, site.mask),
            answer=answer,
            question=await asyncio.to_thread(site.mask, asked.question) if asked is not None else "",
            conversation=asked.conversation if asked is not None else "",
            sources={(each.document, each.version): each for each in trace.sources}.values(),
            took_ms=_took_ms(trace.entries),
        )


def _took_ms(entries: Sequence[Entry]) -> int:
    """From the question to its terminal record."""
    ends = [each.timestamp_ms for each in entries if isinstance(each.event, AnswerProduced)]
    return max(0, min(ends) - min(each.timestamp_ms for each in entries)) if ends else 0


def steps(trace: QuestionTrace, mask: Mask) -> list[Step]:
    """Records in the order of causes: each below what caused it, in the order of time; pieces sent are told as one."""
    entries = _without_repeats(trace.entries)
    known = {entry.id for entry in entries if entry.id}
    below: dict[str, list[Entry]] = {}
    for entry in entries:
        below.setdefault(entry.causation_id if entry.causation_id in known - {entry.id} else "", []).append(entry)
    times = {entry.id: entry.timestamp_ms for entry in entries}
    first = min((entry.timestamp_ms for entry in entries), default=0)
    whole = max(1, max((entry.timestamp_ms for entry in entries), default=0) - first)
    found: list[Step] = []
    waiting = [(entry, 0) for entry in reversed(below.pop("", []))]
    while waiting:
        entry, depth = waiting.pop()
        since = min(times.get(entry.causation_id, entry.timestamp_ms), entry.timestamp_ms)
        found.append(_step(entry, depth, since - first, entry.timestamp_ms - first, whole, mask))
        waiting += [(each, min(depth + 1, _MAX_DEPTH)) for each in reversed(below.pop(entry.id, []))]
    return found


def _step(entry: Entry, depth: int, since_ms: int, at_ms: int, whole_ms: int, mask: Mask) -> Step:
    x = min(since_ms * _WIDTH / whole_ms, _WIDTH - 4)
    return Step(
        stage=_STAGES.get(entry.type, _words(entry.type)),
        what=mask(entry.what),
        depth=depth,
        time=entry.time,
        position=entry.position,
        id=entry.id,
        x=round(x, 1),
        width=round(max(4, (at_ms - since_ms) * _WIDTH / whole_ms), 1),
        after_ms=at_ms,
        took_ms=at_ms - since_ms,
        fields=tuple(_fields(entry, mask)),
    )


def _without_repeats(entries: Sequence[Entry]) -> list[Entry]:
    """Entries with all pieces of an attempt told in the first of them."""
    pieces = [entry for entry in entries if entry.type == "AnswerDelta"]
    if len(pieces) < 2:
        return list(entries)
    last = pieces[-1]
    told = msgspec.structs.replace(
        pieces[0],
        what=f"{len(pieces)} pieces, the last {last.timestamp_ms - pieces[0].timestamp_ms} ms after the first",
    )
    return [told if entry is pieces[0] else entry for entry in entries if entry not in pieces[1:]]


def _fields(entry: Entry, mask: Mask) -> list[tuple[str, str]]:
    """Short fields of an event; long ones as how many there are."""
    found: list[tuple[str, str]] = []
    for name, value in (msgspec.structs.asdict(entry.event) if entry.event is not None else {}).items():
        if not value or name in {"tenant", "correlation"}:
            continue
        found.append((name.replace("_", " "), mask(_told(value))))
    return found


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, tuple | list) and value and not isinstance(value[0], str):
        return f"{len(value)}: " + ", ".join(_named(each) for each in value[:10])
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return str(value)


def _named(value: Any) -> str:
    document = getattr(value, "document", "")
    if document:
        return f"{document} v{getattr(value, 'version', '?')}"
    return ", ".join(f"{name} {_told(each)}" for name, each in msgspec.to_builtins(value).items())


def _words(name: str) -> str:
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return spaced[:1].upper() + spaced[1:]
