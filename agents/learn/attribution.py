"""Say of a poor answer which stage failed, by rule from the log: `attribute_stage`.

Delivery: at least once; a redelivery says the same again, or looks again at the watermark that was recorded.

What should have happened comes from `agents.learn.material`, what follows from it from `agents.learn.stages`. A
revision that changes nothing of what is looked at repeats the last finding, as `agents.learn.attributions` knows it.
"""

from collections.abc import Mapping
from typing import Final

from millrace.agent import Outputs, agent
from millrace.events.learn import QualityScored, StageAttributed
from millrace.topics import QUALITY_SCORED, STAGE_ATTRIBUTED

from agents.corpus.background import beside_the_loop
from agents.learn.material import AT_WATERMARK, outcome_of, shelf_of, views, visible_now
from agents.learn.ports import AttributionPorts
from agents.learn.stages import Case, Finding, Stored, judge
from agents.ports import VisibleSet
from agents.query.admit import normalised

_NOT_READ: Final = frozenset({"failed", "refused", "retracted"})
_TOP_K: Final = 10


@agent(source=QUALITY_SCORED, sinks=(STAGE_ATTRIBUTED,), timeout_s=300.0)
async def attribute_stage(scored: QualityScored, ports: AttributionPorts) -> Outputs:
    """Name the stage that a poor answer is the fault of.

    Raises
    ------
    Unavailable
        If a store or the model is down, or the visibility table has not folded so far.
    """
    if not scored.poor:
        return None
    if scored.status in _NOT_READ:
        return _said(scored, Finding("unknown", scored.status), {})
    if (known := _known(scored, ports)) is not None:
        return known
    async with ports.attributions.turn:
        return await _searched(scored, ports)


def _known(scored: QualityScored, ports: AttributionPorts) -> StageAttributed | None:
    """What an earlier revision led to, if it would lead to the same; what it names must be visible still."""
    known = ports.attributions.of(scored)
    if known is None or not known.document:
        return known
    return known if visible_now(scored, ports).why_not(known.document, known.chunk_id) is None else None


async def _searched(scored: QualityScored, ports: AttributionPorts) -> StageAttributed:
    now, then, as_of = views(scored, ports)
    evidence = {"as_of": as_of, "n_visible": str(then.n_chunks)}
    if then.n_chunks > ports.policy.max_searched_chunks:
        return _said(scored, Finding("unknown", "too_many_chunks"), evidence)
    case = await _case(scored, then, ports)
    if case is None:
        return _said(scored, Finding("corpus", "nothing_visible"), evidence)
    document = case.shelf.document_of(case.right)
    visible = bool(document) and now.why_not(document, case.right) is None
    stored: Stored = "unknown"
    if visible:
        stored = "yes" if await ports.vectors.existing(scored.tenant, [case.right]) else "no"
    found = judge(case, stored)
    evidence |= _numbers(case) | {"stored": stored}
    named = visible and found.stage != "corpus"
    said = _said(scored, found, evidence, *((document, case.right) if named else ()))
    if as_of == AT_WATERMARK:  # as of now means something else the next time
        ports.attributions.keep(scored, said)
    return said


async def _case(scored: QualityScored, view: VisibleSet, ports: AttributionPorts) -> Case | None:
    """What the rules look at; None where nothing is visible, or nothing was asked."""
    shelf = await shelf_of(scored.tenant, view, ports)
    question = scored.question or normalised(scored.asked)
    if not shelf.rows or not question:
        return None
    forms = {
        normalised(scored.asked): "admitted_otherwise",
        normalised(scored.rephrased): "rephrasing_works",
    }
    forms = {text: rule for text, rule in forms.items() if text and text != question}
    unknown = await beside_the_loop(shelf.unknown_share, question)  # reads all chunks, and takes their words apart
    if not forms and unknown >= ports.policy.unknown_words:
        respelled = await beside_the_loop(shelf.respelled, question)
        forms = {respelled: "respelling_works"} if respelled else {}
    outcomes = []
    for text in (question, *forms):
        vector = (await ports.embedder.embed([text]))[0]  # alone, as `retrieve` does: batch mates would change it
        top_k = len(scored.hits) or _TOP_K
        outcomes.append(await beside_the_loop(outcome_of, text, vector, shelf, view, scored.labels, ports.query, top_k))
    holders = await beside_the_loop(shelf.holding, scored.expected, ports.policy.expected_words)
    return Case(scored, shelf, outcomes[0], outcomes[1:], holders, forms, ports.policy)


def _numbers(case: Case) -> dict[str, str]:
    """Numbers that the rules saw."""
    found = {
        "n_unreadable": case.shelf.n_unreadable,
        "n_hits": len(case.hits),
        "n_holding": len(case.holders),
        "n_forms": 1 + len(case.others),
        "place": case.place,
        "place_expected": case.asked.places.get(case.right, 0),
        "agreement": round(case.agreement, 3),
        "unknown_words": round(case.unknown_words, 3),
    }
    return {name: str(value) for name, value in found.items()}


def _said(
    scored: QualityScored, found: Finding, evidence: Mapping[str, str], document: str = "", chunk_id: str = ""
) -> StageAttributed:
    return StageAttributed(
        tenant=scored.tenant,
        conversation=scored.conversation,
        correlation=scored.correlation,
        revision=scored.revision,
        stage=found.stage,
        rule=found.rule,
        evidence=dict(evidence),
        document=document,
        chunk_id=chunk_id,
    )
