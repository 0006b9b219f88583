"""Let out of a completion only what may be seen: `guard_answer`, between reading and the end of a question.

Delivery: at least once; a redelivery guards again and its frames carry a higher attempt.

All frames of an answer leave here, so nothing is seen of a completion that no guard has looked at. A quote from a
passage that gives orders to a model is left out, whatever it says, and so is the passage where it was searched for;
personal data and secrets are masked, in the text and in what is cited; links to hosts that the policy does not name
lose their targets.
"""

from collections.abc import Mapping, Sequence

import msgspec
from millrace.agent import Outputs, agent
from millrace.event import Event
from millrace.events.guard import VerdictGiven
from millrace.events.query import AnswerDelta, Citation, CompletionGenerated, CompletionGuarded, Dropped, Hit
from millrace.findings import Finding
from millrace.rows import ChunkRow
from millrace.topics import COMPLETION_GENERATED, COMPLETION_GUARDED, REPLY, REVIEW_ITEM_OPENED, VERDICT_GIVEN

from agents.correlation import correlation_of
from agents.guard.anomalies import anomalies
from agents.guard.masking import Find, Masks, StreamGuard
from agents.guard.passages import Suspicion, cited, sure, suspicions, verdicts_on
from agents.guard.policy import GuardPolicy
from agents.guard.verdicts import Subject, listed, reviews, verdict, verdicts_of
from agents.ports import Principal, QueryPorts, VisibleSet

NAME = "guard_answer"
SEPARATOR = "\n"


class Draft(msgspec.Struct, frozen=True):
    """What is left of a completion, what was said about it, and the rule by which nothing may be left."""

    text: str
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    verdicts: Sequence[VerdictGiven] = ()
    blocked: str = ""


@agent(source=COMPLETION_GENERATED, sinks=(COMPLETION_GUARDED, VERDICT_GIVEN, REVIEW_ITEM_OPENED, REPLY))
async def guard_answer(completion: CompletionGenerated, ports: QueryPorts) -> Outputs:
    """Guard a completion, and stream what is left of it.

    Raises
    ------
    Unavailable
        If the store is down.
    """
    draft = Draft(completion.text, completion.citations, completion.hits, completion.dropped)
    if not ports.guard.answers:
        return _sent(completion, draft, pieces(draft), ports)
    if completion.mode == "search":
        draft = await _searched(completion, draft, ports)
    if completion.citations:
        rows, view = await _source(completion, completion.citations, ports)
        suspicious = await suspicions(completion.citations, rows, view, ports)
        draft = _without(completion, draft, suspicious, _ungrounded(completion.citations, rows))
    draft = _looked_at(completion, draft, ports)
    masked, frames = _masked(completion, draft, ports)
    return _sent(completion, masked, frames, ports)


def pieces(draft: Draft) -> list[str]:
    """The text in the pieces that are sent: one for each quote where it is made of quotes, else the whole."""
    if not draft.text:
        return []
    if not _is_quoted(draft):
        return [draft.text]
    return [(SEPARATOR if n else "") + citation.quote for n, citation in enumerate(draft.citations)]


def _is_quoted(draft: Draft) -> bool:
    return draft.text == SEPARATOR.join(citation.quote for citation in draft.citations)


def _ungrounded(citations: Sequence[Citation], rows: Mapping[str, ChunkRow]) -> set[int]:
    """Citations whose quote does not stand in the chunk that they name."""
    return {
        n
        for n, citation in enumerate(citations)
        if citation.chunk_id not in rows or citation.quote not in rows[citation.chunk_id].text
    }


def _without(
    completion: CompletionGenerated, draft: Draft, suspicious: Mapping[int, Suspicion], ungrounded: set[int]
) -> Draft:
    """Leave out quotes that give orders, or that stand nowhere; where the text is made of quotes, out of it too."""
    kept = tuple(each for n, each in enumerate(draft.citations) if n not in suspicious and n not in ungrounded)
    text = SEPARATOR.join(citation.quote for citation in kept) if _is_quoted(draft) else draft.text
    given = verdicts_on(completion.tenant, completion.citations, suspicious, guard_answer.__name__)
    if ungrounded:
        given.append(verdict(_subject(completion), "ungrounded", "ungrounded", "block", n_found=len(ungrounded)))
    return msgspec.structs.replace(draft, text=text, citations=kept, verdicts=given)


async def _source(
    completion: CompletionGenerated, passages: Sequence[Citation | Hit], ports: QueryPorts
) -> tuple[dict[str, ChunkRow], VisibleSet]:
    """Rows that passages come from, by chunk id, and what the asker may see."""
    chunk_ids = list(dict.fromkeys(passage.chunk_id for passage in passages))
    rows = {row.chunk_id: row for row in await ports.vectors.fetch(completion.tenant, chunk_ids)}
    return rows, ports.visibility.visible(completion.tenant, Principal(completion.user, frozenset(completion.groups)))


async def _searched(completion: CompletionGenerated, draft: Draft, ports: QueryPorts) -> Draft:
    """Leave out passages that give orders: whoever searched may be a model."""
    rows, view = await _source(completion, completion.hits, ports)
    whole = [cited(hit, rows.get(hit.chunk_id), view) for hit in completion.hits]
    suspicious = await suspicions(whole, rows, view, ports, await_trusted=False)
    told = (Dropped("injection", len(suspicious)),) if suspicious and completion.explain else ()
    return msgspec.structs.replace(
        draft,
        hits=tuple(hit for n, hit in enumerate(completion.hits) if n not in suspicious),
        dropped=draft.dropped + told,
        verdicts=verdicts_on(completion.tenant, whole, suspicious, guard_answer.__name__),
    )


def _looked_at(completion: CompletionGenerated, draft: Draft, ports: QueryPorts) -> Draft:
    """Look at the text itself: what no answer should be, and orders in a text that was generated."""
    policy, subject = ports.guard, _subject(completion)
    left = completion.found and completion.mode == "answer" and not (completion.citations and not draft.citations)
    wrong = anomalies(draft.text, found=left, policy=policy)
    judged: list[VerdictGiven] = verdicts_of(subject, [(each, each.action) for each in wrong])
    if draft.text and not _is_quoted(draft):
        orders = [found for found in sure(ports.scanner.quick(draft.text), policy) if found.kind == "injection"]
        judged += verdicts_of(subject, [(found, "block") for found in orders])
    blocked = next((each.rule for each in judged if each.action == "block"), "")
    given = [*draft.verdicts, *judged]
    if blocked:
        return Draft("", (), verdicts=given, blocked=blocked)
    return msgspec.structs.replace(draft, verdicts=given)


def _masked(completion: CompletionGenerated, draft: Draft, ports: QueryPorts) -> tuple[Draft, list[str]]:
    """Mask what is left, and give it in frames as well; spans of citations stay those of the source."""
    policy, masks, find = ports.guard, Masks(), _find(ports)

    def guarded(parts: Sequence[str]) -> tuple[StreamGuard, list[str]]:
        stream = StreamGuard(find, masks, policy.link_hosts, policy.max_finding_chars)
        *fed, last = [stream.feed(part) for part in parts] or [""]
        return stream, [text for text in (*fed, last + stream.flush()) if text]

    def shown(citation: Citation) -> Citation:
        quote, title, heading = (
            "".join(guarded([text])[1]) for text in (citation.quote, citation.title, citation.heading)
        )
        return msgspec.structs.replace(citation, quote=quote, title=title, heading=heading)

    stream, frames = guarded(pieces(draft))
    given = [*draft.verdicts, *verdicts_of(_subject(completion), [(each, "mask") for each in stream.changes])]
    citations = tuple(map(shown, draft.citations))
    return msgspec.structs.replace(draft, text="".join(frames), citations=citations, verdicts=given), frames


def _sent(completion: CompletionGenerated, draft: Draft, frames: Sequence[str], ports: QueryPorts) -> list[Event]:
    """Frames, verdicts, and the completion as it may be seen."""
    # A frame cannot be taken back unseen: nothing is streamed from a table that may be behind.
    deltas = _deltas(completion, frames) if completion.meta.reply_to and ports.visibility.confirmed() else []
    fields = {name: getattr(completion, name) for name in CompletionGenerated.__struct_fields__}
    left = draft.hits if completion.mode == "search" else draft.text or not completion.text
    fields["found"] = completion.found and bool(left)
    fields |= {"text": draft.text, "citations": draft.citations, "hits": draft.hits, "dropped": draft.dropped}
    fields["n_frames"] = len(deltas)
    guarded = CompletionGuarded(**fields, verdicts=listed(draft.verdicts), blocked=draft.blocked)
    return [*deltas, *draft.verdicts, *reviews(draft.verdicts, conversation=completion.conversation), guarded]


def _subject(completion: CompletionGenerated) -> Subject:
    return Subject(completion.tenant, "answer", correlation_of(completion), guard_answer.__name__)


def _find(ports: QueryPorts) -> Find:
    """Personal data and secrets, as far as the policy masks them."""
    policy: GuardPolicy = ports.guard
    chosen = {"personal_data": policy.mask_personal_data, "secret": policy.mask_secrets}
    kinds = {kind for kind, is_masked in chosen.items() if is_masked}

    def find(text: str) -> Sequence[Finding]:
        if not kinds:
            return ()
        findings = ports.personal_data.find(text)
        return [each for each in findings if each.kind in kinds and each.rule not in policy.unmasked_rules]

    return find


def _deltas(completion: CompletionGenerated, frames: Sequence[str]) -> list[Event]:
    """Numbered frames; together they are the text of the completion."""
    return [
        AnswerDelta(
            tenant=completion.tenant,
            correlation=correlation_of(completion),
            attempt=completion.meta.attempt,
            n=n,
            text=text,
        )
        for n, text in enumerate(frames)
    ]
