"""Judge what came back for one question."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from millrace.client.answers import Answer
from millrace.evaluation.gold import Gold
from millrace.evaluation.questions import KnownQuestion
from millrace.evaluation.ranking import ndcg, reciprocal_rank, success
from millrace.evaluation.text_match import exact_match, f1

_DEPTH = 10
_QUOTE_CHARS = 300


class FoundChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved chunk, in order of rank."""

    document: str
    chunk_id: str
    score: float
    right: bool


class FoundQuote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote of the answer, in its order."""

    document: str
    text: str
    right: bool


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One question, what was expected, what came back, and how good that is.

    Attributes
    ----------
    id, question : str
        The question.
    tenant : str
        Whose documents were asked.
    expected : tuple of str
        Right documents.
    answers : tuple of str or None
        Right answers; empty if there is none, None if they are not known.
    n_right : int
        Right chunks that the index holds.
    status : {"answered", "not_found", "failed"}
        How it ended.
    error : str
        Why it failed.
    chunks, quotes : tuple
        What was retrieved and quoted.
    signal : float or None
        What the threshold for answering was applied to; None where the log does not tell.
    latency_ms : float
        From asking to the whole answer, at the asker; 0 if it failed.
    stages_ms : dict of str to float
        The same by stage, at the worker.
    cost_usd : float
        Price.
    trace_id : str
        For `millrace trace`.
    """

    id: str
    question: str
    tenant: str = ""
    expected: tuple[str, ...] = ()
    answers: tuple[str, ...] | None = None
    n_right: int = 0
    status: Literal["answered", "not_found", "failed"] = "failed"
    error: str = ""
    text: str = ""
    chunks: tuple[FoundChunk, ...] = ()
    quotes: tuple[FoundQuote, ...] = ()
    signal: float | None = None
    latency_ms: float = 0.0
    stages_ms: Mapping[str, float] = {}
    cost_usd: float = 0.0
    trace_id: str = ""

    @property
    def unanswerable(self) -> bool:
        """Whether saying that there is no answer is right."""
        return self.answers == ()

    @property
    def answerable(self) -> bool:
        """Whether the corpus is known to hold an answer."""
        return bool(self.answers or self.expected)

    @property
    def right_places(self) -> tuple[int, ...]:
        """Places of right chunks, from 1."""
        return tuple(place for place, chunk in enumerate(self.chunks, 1) if chunk.right)

    @property
    def values(self) -> dict[str, float]:
        """Measures that this question has a say in, by name."""
        found: dict[str, float] = {}
        if self.expected:
            right = self.right_places
            found |= {f"recall@{k}": success(right, k) for k in (1, 5, 10)}
            found |= {"mrr": reciprocal_rank(right), "ndcg@10": ndcg(right, self.n_right, _DEPTH)}
            quotes = [place for place, quote in enumerate(self.quotes, 1) if quote.right]
            found |= {"sentence_top1": success(quotes, 1), "sentence_top3": success(quotes, 3)}
        if self.answers:
            found |= {"f1": f1(self.text, self.answers), "em": exact_match(self.text, self.answers)}
        if self.status != "failed":
            refused = float(self.status == "not_found")
            if self.unanswerable:
                found["refused_unanswerable"] = refused
            elif self.answerable:
                found["refused_answerable"] = refused
            found["latency_ms"] = self.latency_ms
            found["cost_usd"] = self.cost_usd
        if self.signal is not None:
            found["signal"] = self.signal
        return found

    @property
    def badness(self) -> tuple[float, ...]:
        """Larger is worse, and all zeros is right.

        Failed, then wrongly refused or answered, then by the places of right chunk and quote.
        """
        if self.status == "failed":
            return (3.0,)
        if self.unanswerable:
            return (2.0, self.signal or 0.0) if self.status == "answered" else (0.0,)
        if not self.answerable:
            return (0.0,)
        values = self.values
        missed = 2.0 if self.status == "not_found" else 1.0 - values.get("sentence_top3", values.get("f1", 1.0))
        return (missed, 1.0 - values.get("mrr", 1.0), 1.0 - values.get("sentence_top1", 1.0))


def judge(question: KnownQuestion, tenant: str, answer: Answer, gold: Gold) -> Judgement:
    """Judge an answer.

    Parameters
    ----------
    question : KnownQuestion
        The question and what is right.
    tenant : str
        Whose documents were asked.
    answer : Answer
        What came back, with its hits.
    gold : Gold
        The right documents as the index has them.
    """
    right = gold.right_chunks(question, tenant)
    quotes = gold.right_quotes(question, tenant, answer.citations)
    return msgspec.structs.replace(
        unjudged(question, tenant),
        n_right=sum(map(len, right.values())),
        status="answered" if answer.found else "not_found",
        text=answer.text,
        chunks=tuple(
            FoundChunk(
                document=hit.document,
                chunk_id=hit.chunk_id,
                score=hit.score,
                right=hit.chunk_id in right.get(hit.document, ()),
            )
            for hit in sorted(answer.hits, key=lambda hit: hit.rank)
        ),
        quotes=tuple(
            FoundQuote(document=citation.document, text=citation.quote[:_QUOTE_CHARS], right=place in quotes)
            for place, citation in enumerate(answer.citations, 1)
        ),
        latency_ms=answer.latency_ms,
        stages_ms=answer.timings_ms,
        cost_usd=answer.cost_usd,
        trace_id=answer.trace_id,
    )


def unjudged(question: KnownQuestion, tenant: str, error: str = "") -> Judgement:
    """A question that got no answer, or none yet."""
    return Judgement(
        id=question.id,
        question=question.question,
        tenant=tenant,
        expected=tuple(question.gold),
        answers=question.answers,
        error=error,
    )
