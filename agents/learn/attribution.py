"""Say of a poor answer which stage failed, by rule from the log: `attribute_stage`.

Delivery: at least once; a redelivery looks again, at the watermark that was recorded.

What was recorded is held against what all stages, working, would have made of the same question over the same visible
chunks: see `agents.learn.material`. The chunk that should have been answered from is the one that holds the correction;
without a correction it is the one that a working path quotes.
"""

from collections.abc import Mapping, Sequence

import msgspec
from millrace.agent import Outputs, agent
from millrace.events.learn import QualityScored, Stage, StageAttributed
from millrace.events.query import Hit
from millrace.topics import QUALITY_SCORED, STAGE_ATTRIBUTED

from agents.corpus.background import beside_the_loop
from agents.learn.material import Outcome, Shelf, agreement, outcome_of, says, shelf_of, views
from agents.learn.policy import LearnPolicy
from agents.ports import AttributionPorts, VisibleSet
from agents.query.admit import normalised

_NOT_READ = frozenset({"failed", "refused", "retracted"})
_TOP_K = 10


class Finding(msgspec.Struct, frozen=True):
    """A stage, the rule by which it is named, and the chunk that should have been answered from, if it is known."""

    stage: Stage
    rule: str
    chunk_id: str = ""


class Case(msgspec.Struct, frozen=True):
    """All that the rules look at.

    Attributes
    ----------
    asked : Outcome
        What the question, as it was worked on, should have brought.
    others : sequence of Outcome
        The same of the question as it was asked, and of the one asked instead, where they differ.
    stored : bool or None
        Whether the store has the right chunk; None where that says nothing, because it is not visible any more.
    """

    scored: QualityScored
    shelf: Shelf
    asked: Outcome
    others: Sequence[Outcome]
    holders: Mapping[str, float]
    policy: LearnPolicy

    @property
    def reference(self) -> Outcome:
        """What the best form of the question should have brought."""
        return next((each for each in self.others if self.works(each)), (*self.others, self.asked)[0])

    def right_chunk(self) -> str:
        """Chunk that should have been answered from; empty where there is none."""
        if self.holders:
            places = self.reference.places
            return min(self.holders, key=lambda name: (-self.holders[name], places.get(name, len(places)), name))
        return self.reference.citations[0].chunk_id if self.reference.citations else ""

    def works(self, outcome: Outcome) -> bool:
        """Whether a form of the question should have been answered, and rightly where it is known what is right."""
        if self.holders:
            return outcome.says(self.scored.expected, self.policy.expected_words)
        return bool(outcome.citations)


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
    now, then, as_of = views(scored, ports)
    evidence = {"as_of": as_of, "n_visible": str(then.n_chunks)}
    if then.n_chunks > ports.policy.max_searched_chunks:
        return _said(scored, Finding("unknown", "too_many_chunks"), evidence)
    case = await _case(scored, then, ports)
    if not case.shelf.rows:
        return _said(scored, Finding("corpus", "nothing_visible"), evidence)
    right = case.right_chunk()
    document = next((row.document for row, _ in case.shelf.rows if row.chunk_id == right), "")
    visible = bool(right) and now.why_not(document, right) is None
    stored = bool(await ports.vectors.existing(scored.tenant, [right])) if visible else None
    found = judge(case, stored)
    evidence |= _evidence(case, right, stored)
    if not visible:
        evidence["right_chunk"] = "no longer visible" if right else "none"
    return _said(scored, found, evidence, document if visible else "", right if visible else "")


def judge(case: Case, stored: bool | None) -> Finding:
    """Apply the rules, the first that fits.

    Parameters
    ----------
    stored : bool or None
        Whether the store has the right chunk; None where that says nothing.
    """
    return _question(case) or _corpus(case) or _path(case, stored)


def _question(case: Case) -> Finding | None:
    """Whether the question was misread: another form of it works, or nothing visible knows its words."""
    scored, policy = case.scored, case.policy
    if case.works(case.asked):
        if case.holders or not case.others or case.right_chunk() in case.asked.cited:
            return None
    elif not case.others:
        garbled = case.shelf.unknown_share(scored.question) >= policy.unknown_words
        return Finding("question", "unknown_words") if garbled else None
    right = case.right_chunk()
    for other in case.others:
        near = other.places.get(right, 0) <= len(other.hits) and right in other.places
        far = case.asked.places.get(right, 0) > len(case.asked.hits)
        if case.works(other) or (near and far):
            as_asked = other.question == normalised(scored.asked)
            return Finding("question", "admitted_otherwise" if as_asked else "rephrasing_works")
    return None


def _corpus(case: Case) -> Finding | None:
    """Whether nothing visible holds the answer."""
    if case.holders:
        return None
    if case.scored.expected and case.shelf.holding(case.scored.expected, 0.0)[1] != "none":
        return Finding("corpus", "correction_nowhere")
    return None if case.right_chunk() else Finding("corpus", "nothing_near")


def _path(case: Case, stored: bool | None) -> Finding:
    """Whether the right chunk was not retrieved, not ranked, or not read."""
    scored, policy = case.scored, case.policy
    right = case.right_chunk()
    hits = sorted(scored.hits, key=lambda hit: hit.rank)
    place = next((place for place, hit in enumerate(hits, 1) if hit.chunk_id == right), 0)
    disordered = agreement(hits, case.asked.places) < policy.least_agreement or _against_scores(hits)
    if not place:
        if stored is False:
            return Finding("retrieval", "row_missing")
        if disordered:
            return Finding("ranking", "order_broken")
        missed = case.asked.places[right] <= max(len(case.asked.hits), 1)
        return Finding("retrieval", "candidate_missed" if missed else "too_far")
    if case.holders and says((each.quote for each in scored.citations), scored.expected, policy.expected_words):
        return Finding("unknown", "answer_holds_it")
    if not case.holders and {each.chunk_id for each in scored.citations} >= case.asked.cited:
        return Finding("unknown", "as_designed")
    if disordered or place - _place_among(hits, right, case.asked.places) > policy.place_tolerance:
        return Finding("ranking", "placed_behind")
    if place > policy.read_places:
        return Finding("ranking", "behind_what_is_read")
    if not scored.citations:
        return Finding("reading", "quoted_nothing")
    quoted = right in {each.chunk_id for each in scored.citations}
    return Finding("reading", "quoted_beside" if quoted else "quoted_elsewhere")


def _place_among(hits: Sequence[Hit], right: str, places: Mapping[str, int]) -> int:
    """Place that the ingredients give a chunk among the recorded hits, from 1."""
    own = places[right]
    return 1 + sum(places.get(hit.chunk_id, len(places)) < own for hit in hits)


def _against_scores(hits: Sequence[Hit]) -> bool:
    """Whether hits stand before others with a higher score."""
    scores = [hit.score for hit in hits]
    return any(one < other for one, other in zip(scores, scores[1:], strict=False))


async def _case(scored: QualityScored, view: VisibleSet, ports: AttributionPorts) -> Case:
    shelf = await shelf_of(scored.tenant, view, ports)
    texts = [scored.question, normalised(scored.asked), normalised(scored.rephrased)]
    outcomes = []
    for text in dict.fromkeys(text for text in texts if text):
        vector = (await ports.embedder.embed([text]))[0]  # alone, as `retrieve` does: batch mates would change it
        top_k = len(scored.hits) or _TOP_K
        outcomes.append(await beside_the_loop(outcome_of, text, vector, shelf, view, scored.labels, ports.query, top_k))
    policy = ports.policy
    holders, _ = await beside_the_loop(shelf.holding, scored.expected, policy.expected_words)
    return Case(scored, shelf, outcomes[0], outcomes[1:], holders, policy)


def _evidence(case: Case, right: str, stored: bool | None) -> dict[str, str]:
    """Numbers that the rules saw."""
    hits = sorted(case.scored.hits, key=lambda hit: hit.rank)
    place = next((place for place, hit in enumerate(hits, 1) if hit.chunk_id == right), 0)
    found = {
        "n_unreadable": case.shelf.n_unreadable,
        "n_hits": len(hits),
        "n_holding": len(case.holders),
        "place_recorded": place,
        "place_expected": case.asked.places.get(right, 0),
        "agreement": round(agreement(hits, case.asked.places), 3),
        "unknown_words": round(case.shelf.unknown_share(case.scored.question), 3),
        "n_forms": 1 + len(case.others),
        "stored": "unknown" if stored is None else "yes" if stored else "no",
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
