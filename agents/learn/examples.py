"""Make examples of what people said: of corrections, and of answers that they approved.

Delivery: at least once; texts lie in the object store under their digest, and a proposal's id is derived from the state
of the answer that it was made from, so a redelivery repeats both.

Whoever corrects an answer dislikes it. So where nothing can be learned from a correction, what the answer quoted is
proposed as disliked: it may have been taken before.

Personal data and secrets are masked before anything is written: in question, target and context, the same value by the
same placeholder. What is masked is looked at once more as a whole; where something is found then, or where nothing but
placeholders is left, the example is rejected, as it is where its document or a group in force is called after somebody;
retrieved documents of such names are left out. What gives orders to a model is rejected too: whoever is trained on it
would have read it. Users stand in it by pseudonym: a digest without a key, so that whoever
has to erase a user's examples can tell which they are. It hides a name from readers, not from who guesses names.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from millrace.agent import agent
from millrace.events.learn import ExampleProposed, ExampleRejected, ExampleSource, QualityScored, Rejection
from millrace.events.query import Citation
from millrace.examples.content import PLACEHOLDER, ExampleContent, ExamplePassage, RetrievedChunk
from millrace.examples.signatures import signature
from millrace.ids import content_hash, derived
from millrace.topics import EXAMPLE_CURATED, EXAMPLE_PROPOSED, QUALITY_SCORED

from agents.guard.links import REMOVED
from agents.guard.masking import Masks, masked
from agents.guard.passages import ORDERS
from agents.guard.question import judge
from agents.guard.verdicts import Subject
from agents.learn.ports import ExamplePorts
from agents.lexical import terms
from agents.ports import Rank

SHINGLE: Final = 3
_GONE: Final = re.compile(rf"{PLACEHOLDER.pattern}|{re.escape(REMOVED)}")
_MASKED_KINDS: Final = frozenset({"personal_data", "secret"})
_WORTHLESS: Final = frozenset({"empty", "repeated", "ungrounded", "retracted"})
_VOTES: Final = frozenset({"up", "down", "rating"})


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer offers to learn from, as it was said."""

    source: ExampleSource
    user: str
    target: str
    document: str = ""
    version: int = 0
    grounded: bool = False
    quoted: tuple[Citation, ...] = ()
    disliked: bool = False


@agent(source=QUALITY_SCORED, sinks=(EXAMPLE_PROPOSED, EXAMPLE_CURATED))
async def propose_example(scored: QualityScored, ports: ExamplePorts) -> Sequence[ExampleProposed | ExampleRejected]:
    """Example of a corrected or approved answer; nothing where nobody said what would have been right.

    Raises
    ------
    Unavailable
        If the object store or the scanner is down.
    """
    if not scored.expected.strip():
        found = _approved(scored)
        return [await _outcome(scored, found, ports)] if found is not None else []
    outcome, answer = await _outcome(scored, _correction(scored), ports), _quoted(scored, disliked=True)
    if isinstance(outcome, ExampleProposed) or answer is None:
        return [outcome]
    withdrawn = await _outcome(scored, answer, ports)
    return [outcome, withdrawn] if isinstance(withdrawn, ExampleProposed) else [outcome]


def pseudonym(tenant: str, user: str) -> str:
    """What a user is called in examples; nobody in particular has no name there either."""
    return derived("user", tenant, user) if user else ""


async def _outcome(scored: QualityScored, found: Found, ports: ExamplePorts) -> ExampleProposed | ExampleRejected:
    content, n_masked = _masked(scored, found, ports)
    reason = _worthless(scored, found, content, ports)
    if reason is None and not found.disliked and await _gives_orders(scored, found, ports):
        reason = "injection"
    if reason is not None:
        return _rejected(scored, found, reason, n_masked, ports)
    ref = "" if found.disliked else await ports.objects.put(content.encode())
    return _proposed(scored, found, content, ref, n_masked, ports)


def _correction(scored: QualityScored) -> Found:
    """The correction, with the cited document that holds it, else with the best hit's."""
    wanted = f" {_normal(scored.expected)} "
    holding = [each for each in scored.citations if wanted in f" {_normal(each.quote)} "]
    best = holding[:1] or scored.hits[:1] or scored.citations[:1]
    document, version = (best[0].document, best[0].version) if best else ("", 0)
    return Found(
        source="correction",
        user=scored.corrected_by,
        target=scored.expected,
        document=document,
        version=version,
        grounded=bool(holding),
        quoted=tuple(each for each in scored.citations if each.document == document),
    )


def _approved(scored: QualityScored) -> Found | None:
    """The quotes of an answer that someone approved; those of a disliked one, so that they are no example any more."""
    disliked = _is_disliked(scored)
    return _quoted(scored, disliked=disliked) if disliked or scored.feedback.get("up", 0) > 0 else None


def _is_disliked(scored: QualityScored) -> bool:
    """Whether a vote is against it; the flag is of behaviour too, so without any vote it says nothing here."""
    if scored.n_dislikes or scored.feedback.get("down", 0) > 0:
        return True
    return "disliked" in scored.flags and not _VOTES.isdisjoint(scored.feedback)


def _quoted(scored: QualityScored, *, disliked: bool) -> Found | None:
    """What an answer quoted; None where there is nothing to learn from, whatever people say of it."""
    if scored.status != "answered" or not scored.citations or _WORTHLESS & set(scored.flags):
        return None
    return Found(
        source="approved",
        user=scored.user,
        target="\n".join(each.quote for each in scored.citations),
        document=scored.citations[0].document,
        version=scored.citations[0].version,
        grounded=True,
        quoted=scored.citations,
        disliked=disliked,
    )


def _masked(scored: QualityScored, found: Found, ports: ExamplePorts) -> tuple[ExampleContent, int]:
    """Its texts with everything masked, and in how many places."""
    masks = Masks()
    n_masked = 0

    def mask(text: str) -> str:
        nonlocal n_masked
        out, changes = masked(text, ports.personal_data.find, masks)
        n_masked += sum(change.kind in _MASKED_KINDS for change in changes)
        return out.strip()

    content = ExampleContent(
        question=mask(scored.question or scored.asked),
        target=mask(found.target),
        context=tuple(
            ExamplePassage(
                document=each.document,
                version=each.version,
                chunk_id=each.chunk_id,
                heading=mask(each.heading),
                text=mask(each.quote),
            )
            for each in found.quoted
        ),
        retrieved=tuple(
            RetrievedChunk(document=hit.document, version=hit.version, chunk_id=hit.chunk_id, rank=hit.rank)
            for hit in scored.hits
            if not _holds_personal_data([hit.document], ports)
        ),
        labels=scored.labels,
        groups=scored.groups,
    )
    return content, n_masked


def _worthless(scored: QualityScored, found: Found, content: ExampleContent, ports: ExamplePorts) -> Rejection | None:
    """Why nothing can be learned from it."""
    if not terms(scored.question or scored.asked) or not terms(found.target):
        return "empty"
    texts = [content.question, content.target]
    if bare := [text for text in texts if not terms(_GONE.sub(" ", text))]:
        return "personal_data" if any(map(PLACEHOLDER.search, bare)) else "empty"
    texts += [text for passage in content.context for text in (passage.heading, passage.text)]
    texts += [text for label in content.labels.items() for text in label]
    # Names cannot be masked without losing whose they are: where a document or a group is called after somebody.
    texts += [found.document, *(passage.document for passage in content.context), *content.groups]
    return "personal_data" if _holds_personal_data(texts, ports) else None


async def _gives_orders(scored: QualityScored, found: Found, ports: ExamplePorts) -> bool:
    """Whether a correction reads like an untrusted document that would be held back, or the question is an attack.

    What could not be scanned in time is not learned from. Quotes of an approved answer passed the guards of answers.
    """
    guard = ports.guard
    if found.source == "correction" and guard.documents:
        scan = await ports.scanner.scan(found.target, Rank.REPORT)
        if scan.flagged or not scan.complete:
            return True
    if not guard.questions:
        return False
    scan = await ports.scanner.scan(scored.question or scored.asked, Rank.REPORT)
    subject = Subject(scored.tenant, "question", scored.correlation, propose_example.__name__)
    return not scan.complete or any(each.kind in ORDERS for each in judge(subject, scan.findings, guard).verdicts)


def _holds_personal_data(texts: Sequence[str], ports: ExamplePorts) -> bool:
    return any(each.kind in _MASKED_KINDS for text in texts for each in ports.personal_data.find(text))


def _rejected(
    scored: QualityScored, found: Found, reason: Rejection, n_masked: int, ports: ExamplePorts
) -> ExampleRejected:
    nameless = _holds_personal_data([found.document], ports)
    return ExampleRejected(
        tenant=scored.tenant,
        example=derived("no example", scored.tenant, scored.correlation, found.source),
        correlation=scored.correlation,
        source=found.source,
        user=pseudonym(scored.tenant, found.user),
        document="" if nameless else found.document,
        version=0 if nameless else found.version,
        grounded=found.grounded,
        n_masked=n_masked,
        causes=(scored.meta.id,),
        reason=reason,
    )


def _proposed(
    scored: QualityScored, found: Found, content: ExampleContent, ref: str, n_masked: int, ports: ExamplePorts
) -> ExampleProposed:
    tenant, words = scored.tenant, [*terms(content.question), *terms(content.target)]
    scope = msgspec.json.encode(content.labels, order="deterministic").decode()
    question = derived("question", tenant, scope, _normal(content.question))
    figures = sorted({word for word in words if any(map(str.isdigit, word))})
    return ExampleProposed(
        tenant=tenant,
        example=derived("example", tenant, question, _normal(content.target), found.document),
        correlation=scored.correlation,
        ref=ref,
        source=found.source,
        user=pseudonym(tenant, found.user),
        document=found.document,
        version=found.version,
        grounded=found.grounded,
        label=_label(scored, found.document),
        language=ports.language(f"{content.question}\n{content.target}"),
        signature=signature(_shingles(words)),
        n_masked=n_masked,
        causes=(scored.meta.id,),
        question=question,
        figures=content_hash(scope + "\n" + " ".join(figures)),
        documents=tuple(dict.fromkeys(each.document for each in found.quoted)),
        disliked=found.disliked,
    )


def _label(scored: QualityScored, document: str) -> str:
    """Labels of the search; without them the document's uppermost folder."""
    if scored.labels:
        return ",".join(f"{name}={value}" for name, value in sorted(scored.labels.items()))
    folder, slash, _ = document.partition("/")
    return folder if slash else ""


def _shingles(words: Sequence[str]) -> set[str]:
    n = min(SHINGLE, max(len(words), 1))
    return {" ".join(words[at : at + n]) for at in range(len(words) - n + 1)}


def _normal(text: str) -> str:
    return " ".join(terms(text))
