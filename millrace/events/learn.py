"""Events of the learning loop: how good answers are, what changed, and what to learn from."""

from typing import Annotated, ClassVar, Literal

import msgspec

from millrace.event import Event
from millrace.events.query import Citation, Hit

Flag = Literal["failed", "refused", "retracted", "not_found", "empty", "repeated", "ungrounded", "slow", "disliked"]
Stage = Literal["question", "retrieval", "ranking", "reading", "corpus", "unknown"]
Split = Literal["train", "eval"]
ExampleSource = Literal["correction", "approved"]
Rejection = Literal[
    "duplicate", "near_duplicate", "superseded", "disliked", "mixed_split", "user_cap", "source_cap", "unbalanced",
    "personal_data", "injection", "empty",
]  # fmt: skip
"""superseded: of an approved answer, there is a correction of the same question; mixed_split: its documents' texts
belong to both splits; injection: it gives orders to a model; the others are what they say."""


class OffsetRange(msgspec.Struct, frozen=True):
    """A range of records of one partition."""

    topic: Annotated[str, "Topic."]
    partition: Annotated[int, "Partition."]
    start: Annotated[int, "First offset."]
    stop: Annotated[int, "Offset after the last one."]


class _LearnEvent(Event, frozen=True, kw_only=True):
    """What every event of the loop names."""

    namespace: ClassVar[str] = "millrace.learn"

    tenant: Annotated[str, "Tenant."]


class _ScoredAnswer(_LearnEvent, frozen=True, kw_only=True):
    """The answer that something was found out about."""

    conversation: Annotated[str, "Conversation of the question."]
    correlation: Annotated[str, "Correlation id of the question."]


class SignalsMeasured(_ScoredAnswer, frozen=True, kw_only=True):
    """Numbers of one answer, or of feedback on it, that drift is looked for in; keyed by tenant."""

    values: Annotated[
        dict[str, float], "By signal: lexical_top1, score_gap, confidence (of answers), feedback (of feedback)."
    ]
    position: Annotated[OffsetRange, "The record measured: where what is to be learned from stands in the log."]

    def slot(self) -> str:
        """One for each record measured."""
        return f"{self.position.topic}:{self.position.partition}:{self.position.start}"


class QualityScored(_ScoredAnswer, frozen=True, kw_only=True):
    """How good an answer was, by all that is known so far; of one answer the highest revision counts."""

    revision: Annotated[int, "From 1; each further piece of feedback makes another."]
    score: Annotated[float, "0 (useless) to 1 (right)."]
    poor: Annotated[bool, "Whether someone should ask why."]
    flags: Annotated[tuple[str, ...], "What is wrong with it: see `Flag`."] = ()
    feedback: Annotated[dict[str, int], "How often each kind of feedback was given."] = {}
    n_dislikes: Annotated[int, "Users whose vote, a click or a rating, is against it."] = 0
    grounded: Annotated[float, "Share of the answer's words that its citations carry; 1 for quotes."] = 1.0
    status: Annotated[str, "How the question ended."] = ""
    model: Annotated[str, "Reader or generator."] = ""
    confidence: Annotated[float, "Signal that the threshold was applied to."] = 0.0
    latency_ms: Annotated[float, "Time of all stages."] = 0.0
    question: Annotated[str, "The question as it was worked on; as asked where it was not admitted."] = ""
    asked: Annotated[str, "The question as it was asked."] = ""
    answer: Annotated[str, "The answer's text."] = ""
    expected: Annotated[str, "The last correction; empty without one."] = ""
    corrected_by: Annotated[str, "User who gave it."] = ""
    rephrased: Annotated[str, "The question that the asker asked next instead; empty where there is none."] = ""
    citations: Annotated[tuple[Citation, ...], "Passages quoted."] = ()
    hits: Annotated[tuple[Hit, ...], "Chunks retrieved, with the ingredients of their scores."] = ()
    watermark: Annotated[str, "Watermark that they were read at."] = ""
    user: Annotated[str, "Who asked."] = ""
    groups: Annotated[tuple[str, ...], "Groups in force."] = ()
    labels: Annotated[dict[str, str], "Labels the search was restricted to."] = {}

    def slot(self) -> str:
        """One for each state of each answer."""
        return f"{self.correlation}:{self.revision}"


class StageAttributed(_ScoredAnswer, frozen=True, kw_only=True):
    """Which stage a poor answer is the fault of, by which rule."""

    revision: Annotated[int, "Revision of QualityScored that it was concluded from; the highest counts."]
    stage: Annotated[Stage, "question misread, retrieval, ranking, reading; corpus: it does not hold the answer."]
    rule: Annotated[str, "Bounded name of the rule."]
    evidence: Annotated[dict[str, str], "Numbers and ids that the rule saw; no text of documents."] = {}
    document: Annotated[str, "Document that should have been answered from, if it is known."] = ""
    chunk_id: Annotated[str, "Chunk of it."] = ""


class DriftScored(_LearnEvent, frozen=True, kw_only=True):
    """A window of a signal, for people to look at."""

    signal: Annotated[str, "Name of the signal."]
    window: Annotated[int, "Number of the window, from 0."]
    n: Annotated[int, "Values in it."]
    mean: Annotated[float, "Their mean."]
    deviation: Annotated[float, "Their standard deviation."]
    reference_mean: Annotated[float, "Mean of what the detector holds for the present state."]
    statistic: Annotated[float, "Largest difference of means between two parts of it."] = 0.0
    threshold: Annotated[float, "Difference at which it is called a change."] = 0.0

    def slot(self) -> str:
        """One for each window of each signal."""
        return f"{self.signal}:{self.window}"


class DriftDetected(_LearnEvent, frozen=True, kw_only=True):
    """A signal has changed."""

    signal: Annotated[str, "Name of the signal."]
    n_seen: Annotated[int, "Values seen since the beginning."]
    n_since: Annotated[int, "Values since the change, as far as the detector can tell."]
    before: Annotated[float, "Mean before the change."]
    after: Annotated[float, "Mean since."]
    statistic: Annotated[float, "Difference of the means where the change was found."]
    threshold: Annotated[float, "Difference at which it is called a change."]
    ranges: Annotated[tuple[OffsetRange, ...], "Records since the change."] = ()

    def slot(self) -> str:
        """One for each signal and place."""
        return f"{self.signal}:{self.n_seen}"


class TrainingRequested(_LearnEvent, frozen=True, kw_only=True):
    """A model should learn from a range of the log."""

    model: Annotated[str, "What should learn: reader, embedder or ranker."]
    base: Annotated[str, "Version to start from."]
    reason: Annotated[str, "drift, or who asked for it."]
    cause: Annotated[str, "Id of the event that led to it."]
    ranges: Annotated[tuple[OffsetRange, ...], "What to learn from."] = ()

    def slot(self) -> str:
        """One for each model."""
        return self.model


class _Example(_LearnEvent, frozen=True, kw_only=True):
    """A question with what would have been right, masked; its texts are in the object store."""

    example: Annotated[str, "Id, derived from tenant, scope, question, target and document."]
    correlation: Annotated[str, "Correlation id of the question it comes from."]
    ref: Annotated[str, "Object with question, context and target, as JSON; empty where there is nothing to keep."] = ""
    source: Annotated[ExampleSource, "Whether the target is a correction or quotes of an approved answer."]
    user: Annotated[str, "Pseudonym of who gave it; empty for nobody in particular."] = ""
    document: Annotated[str, "Document of the target, else of the best hit; empty where nothing was found."] = ""
    version: Annotated[int, "Version that was read."] = 0
    grounded: Annotated[bool, "Whether a cited passage of the document holds the target."] = False
    label: Annotated[str, "What balance is kept by: the labels the search was restricted to, else the folder."] = ""
    language: Annotated[str, "Main language of question and target, BCP 47; empty where they are too short to say."] = (
        ""
    )
    signature: Annotated[bytes, "64 MinHash values of four bits, of question and target; for near-duplicates."] = b""
    n_masked: Annotated[int, "Places of personal data and secrets that were masked."] = 0
    causes: Annotated[tuple[str, ...], "Ids of the events it was made from."] = ()

    def slot(self) -> str:
        """One for each example."""
        return self.example


class ExampleProposed(_Example, frozen=True, kw_only=True):
    """Something to learn from was found; whether it is taken is decided next."""

    question: Annotated[str, "Digest of the normalised, masked question and the labels it was restricted to."]
    figures: Annotated[str, "Digest of its numbers and labels: texts with others are no near-duplicates."] = ""
    documents: Annotated[tuple[str, ...], "Documents whose text it holds."] = ()
    disliked: Annotated[
        bool, "Whether someone disliked the answer: what it quoted is no example, or none any more."
    ] = False


class ExampleCurated(_Example, frozen=True, kw_only=True):
    """An example was taken; of one id the last record counts."""

    split: Annotated[Split, "What it is for; a document's examples are all in one split."]
    replaces: Annotated[str, "Older example of the same question that it takes the place of; empty if none."] = ""
    question: Annotated[
        str,
        "Digest of the question, as of its proposal: one example of each counts. Empty in records of earlier times.",
    ] = ""


class ExampleRejected(_Example, frozen=True, kw_only=True):
    """An example was not taken, and why.

    What was taken from the same answer is no example any more where it is disliked now, and where it was approved and
    this is a correction that says something else.
    """

    reason: Annotated[Rejection, "Why."]
