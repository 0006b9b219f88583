"""Events of a question, from asking to its one terminal reply."""

from typing import Annotated, ClassVar, Literal

import msgspec

from millrace.event import Event


class Receipt(msgspec.Struct, frozen=True):
    """What a produced change returns: the question asked after it waits until its outcome is known."""

    tenant: Annotated[str, "Tenant."]
    document: Annotated[str, "Document."]
    version: Annotated[int, "Content version; 0 when the receipt is for access alone."] = 0
    acl_version: Annotated[int, "Access version; 0 when the receipt is for content alone."] = 0
    source_epoch: Annotated[int, "Epoch of the content version."] = 0


class Hit(msgspec.Struct, frozen=True):
    """One retrieved chunk."""

    chunk_id: Annotated[str, "Chunk."]
    document: Annotated[str, "Document."]
    version: Annotated[int, "Version that was read."]
    rank: Annotated[int, "Place in the result, from 1."]
    score: Annotated[float, "Final score, only comparable within one result."]
    dense: Annotated[float, "Cosine of question and chunk."]
    lexical: Annotated[float, "BM25 with the recorded statistics."]
    sentence: Annotated[float, "Cosine of question and best sentence of the chunk; 0 in records of earlier times."] = (
        0.0
    )
    duplicate_of: Annotated[str, "Better chunk of the same trust tier that says nearly the same; empty if none."] = ""


class Dropped(msgspec.Struct, frozen=True):
    """How many candidates were not used, and why."""

    reason: Annotated[str, "superseded, deleted, forbidden, foreign_tenant, filtered, rank or injection."]
    n: Annotated[int, "How many."]


class Citation(msgspec.Struct, frozen=True):
    """A passage that an answer quotes."""

    document: Annotated[str, "Document."]
    version: Annotated[int, "Version that was read."]
    chunk_id: Annotated[str, "Chunk."]
    title: Annotated[str, "Title of the document."]
    heading: Annotated[str, "Heading path of the chunk."]
    start: Annotated[int, "First character of the quote in the parsed text of the version."]
    end: Annotated[int, "Character after the last one."]
    quote: Annotated[str, "The quoted text."]


class _QueryEvent(Event, frozen=True, kw_only=True):
    """What every event of a question names."""

    namespace: ClassVar[str] = "millrace.query"

    tenant: Annotated[str, "Tenant of the asker."]
    conversation: Annotated[str, "Conversation the question belongs to."]


class QueryReceived(_QueryEvent, frozen=True, kw_only=True):
    """Someone asked."""

    question: Annotated[str, "The question."]
    user: Annotated[str, "Who asks; empty for nobody in particular."] = ""
    groups: Annotated[tuple[str, ...], "Groups of the asker, from a verified token where there is one."] = ()
    mode: Annotated[Literal["answer", "search"], "Whether to read an answer or only to retrieve."] = "answer"
    top_k: Annotated[int, "How many chunks to retrieve."] = 10
    exact: Annotated[bool, "Search the visible set exhaustively."] = False
    explain: Annotated[bool, "Report what was found and what was dropped why."] = False
    labels: Annotated[dict[str, str], "Only documents with these labels."] = {}
    after: Annotated[tuple[Receipt, ...], "Wait until the outcomes of these are visible."] = ()
    watermark: Annotated[str, "Do not answer from an older state than this; empty for any."] = ""
    timeout_ms: Annotated[int, "Time allowed for the answer."] = 30_000


class QueryCancelled(_QueryEvent, frozen=True, kw_only=True):
    """Whoever asked no longer waits: what is still being done for the question may stop."""

    correlation: Annotated[str, "Correlation id of the question."]


class QueryAdmitted(_QueryEvent, frozen=True, kw_only=True):
    """A question passed admission and may be worked on."""

    question: Annotated[str, "The question, normalised."]
    user: Annotated[str, "Who asks."] = ""
    groups: Annotated[tuple[str, ...], "Groups in force: * and those of the asker."] = ()
    mode: Annotated[Literal["answer", "search"], "Whether to read an answer or only to retrieve."] = "answer"
    top_k: Annotated[int, "How many chunks to retrieve."] = 10
    exact: Annotated[bool, "Search the visible set exhaustively."] = False
    explain: Annotated[bool, "Report what was found and what was dropped why."] = False
    labels: Annotated[dict[str, str], "Only documents with these labels."] = {}


class ContextRetrieved(_QueryEvent, frozen=True, kw_only=True):
    """The chunks an answer may be read from, with the watermark they were read at."""

    question: Annotated[str, "The question, normalised."]
    user: Annotated[str, "Who asks."] = ""
    groups: Annotated[tuple[str, ...], "Groups in force."] = ()
    mode: Annotated[Literal["answer", "search"], "Whether an answer follows."] = "answer"
    explain: Annotated[bool, "Whether the reply reports what was dropped."] = False
    hits: Annotated[tuple[Hit, ...], "Chunks in order of rank."] = ()
    dropped: Annotated[tuple[Dropped, ...], "Candidates that were not used, by reason."] = ()
    watermark: Annotated[str, "How far the visibility table had folded."] = ""
    exact: Annotated[bool, "Whether the visible set was searched exhaustively."] = False
    statistics: Annotated[str, "Term statistics used: epoch:<n>, or visible when computed on the visible set."] = ""
    n_chunks: Annotated[int, "Chunks that the term statistics describe."] = 0
    model: Annotated[str, "Embedding model of the question."] = ""
    vector: Annotated[bytes, "Question vector, little-endian float32, L2-normalised."] = b""
    labels: Annotated[dict[str, str], "Labels the search was restricted to."] = {}


class _Completion(_QueryEvent, frozen=True, kw_only=True):
    """A text made from the context, with what the end of the question needs."""

    text: Annotated[str, "The text; empty when nothing in the corpus answers."]
    found: Annotated[bool, "Whether the corpus holds an answer."]
    citations: Annotated[tuple[Citation, ...], "Passages quoted."] = ()
    groups: Annotated[tuple[str, ...], "Groups in force, for the last look at access."] = ()
    user: Annotated[str, "Who asks."] = ""
    mode: Annotated[Literal["answer", "search"], "Whether this is an answer or a bare search result."] = "answer"
    explain: Annotated[bool, "Whether the reply reports what was found and what was dropped."] = False
    hits: Annotated[tuple[Hit, ...], "Chunks it was read from."] = ()
    dropped: Annotated[tuple[Dropped, ...], "Passed on to an asker who wants an explanation."] = ()
    watermark: Annotated[str, "Watermark of the context."] = ""
    model: Annotated[str, "Reader or generator, with version."] = ""
    confidence: Annotated[float, "Signal that the threshold was applied to."] = 0.0
    n_tokens_in: Annotated[int, "Tokens read."] = 0
    n_tokens_out: Annotated[int, "Tokens written."] = 0
    cost_usd: Annotated[float, "Price of the call; 0 for local models."] = 0.0
    n_frames: Annotated[int, "Delta frames sent before."] = 0
    question: Annotated[str, "The question, as it was admitted; empty in records of earlier times."] = ""


class CompletionGenerated(_Completion, frozen=True, kw_only=True):
    """A reader or generator made a text from the context; nobody outside has seen it yet."""


class CompletionGuarded(_Completion, frozen=True, kw_only=True):
    """A completion as it may leave: masked, without foreign links and without quotes that give orders to a model."""

    verdicts: Annotated[tuple[str, ...], "What the guards said so far, as stage:rule:action."] = ()
    blocked: Annotated[str, "Rule by which nothing of it may leave; empty where some may."] = ""


class AnswerProduced(_QueryEvent, frozen=True, kw_only=True):
    """The terminal record of a question, whatever became of it."""

    correlation: Annotated[str, "Correlation id of the question: the first terminal record of it wins."]
    status: Annotated[Literal["answered", "not_found", "refused", "retracted", "failed"], "How it ended."]
    text: Annotated[str, "The answer, or what to tell the asker."] = ""
    citations: Annotated[tuple[Citation, ...], "Passages quoted."] = ()
    hits: Annotated[tuple[Hit, ...], "Chunks retrieved."] = ()
    dropped: Annotated[tuple[Dropped, ...], "Candidates not used, when an explanation was asked for."] = ()
    watermark: Annotated[str, "Watermark the answer was read at."] = ""
    model: Annotated[str, "Reader or generator."] = ""
    confidence: Annotated[float, "Signal that the threshold was applied to."] = 0.0
    n_tokens_in: Annotated[int, "Tokens read."] = 0
    n_tokens_out: Annotated[int, "Tokens written."] = 0
    cost_usd: Annotated[float, "Price."] = 0.0
    error_type: Annotated[str, "Bounded cause of a failure or refusal."] = ""
    retry_after_ms: Annotated[int, "When trying again makes sense; 0 where it does not."] = 0
    n_frames: Annotated[int, "Delta frames sent before the terminal one."] = 0
    timings_ms: Annotated[dict[str, float], "Milliseconds per stage."] = {}
    user: Annotated[str, "Who asked; the end of a question is repeated to nobody else."] = ""
    verdicts: Annotated[tuple[str, ...], "What the guards said of question and answer, as stage:rule:action."] = ()
    mode: Annotated[
        Literal["answer", "search"], "Whether it ended a question or a bare search; answer in records of earlier times."
    ] = "answer"


class _Frame(Event, frozen=True, kw_only=True):
    """What every reply frame carries."""

    namespace: ClassVar[str] = "millrace.query"
    terminal: ClassVar[bool] = True

    tenant: Annotated[str, "Tenant of the asker."]
    correlation: Annotated[str, "Correlation id of the question."]
    attempt: Annotated[int, "A higher attempt takes the place of all frames of lower ones."] = 0
    n: Annotated[int, "Number of the frame within its attempt, from 0."] = 0

    def slot(self) -> str:
        """Frames are told apart by attempt and number."""
        return f"{self.attempt}:{self.n}"


class AnswerDelta(_Frame, frozen=True, kw_only=True):
    """A further piece of an answer."""

    terminal: ClassVar[bool] = False

    text: Annotated[str, "Text to append."]


class AnswerCompleted(_Frame, frozen=True, kw_only=True):
    """The whole answer; ends the question."""

    text: Annotated[str, "The whole answer."]
    found: Annotated[bool, "Whether the corpus holds an answer."] = True
    citations: Annotated[tuple[Citation, ...], "Passages quoted."] = ()
    hits: Annotated[tuple[Hit, ...], "Chunks retrieved, for search and explanation; otherwise empty."] = ()
    dropped: Annotated[tuple[Dropped, ...], "Candidates not used, when an explanation was asked for."] = ()
    watermark: Annotated[str, "Send it back within the conversation, so that answers never go back in time."] = ""
    model: Annotated[str, "Reader or generator."] = ""
    cost_usd: Annotated[float, "Price."] = 0.0
    timings_ms: Annotated[dict[str, float], "Milliseconds per stage."] = {}


class AnswerFailed(_Frame, frozen=True, kw_only=True):
    """No answer could be given; ends the question."""

    error_type: Annotated[str, "Bounded cause."]
    message: Annotated[str, "What happened and what to do."]
    retry_after_ms: Annotated[int, "When trying again makes sense; 0 where it does not."] = 0


class AnswerRetracted(_Frame, frozen=True, kw_only=True):
    """What was streamed must be discarded; ends the question."""

    reason: Annotated[str, "Why, without saying what."]
    retry_after_ms: Annotated[int, "When asking again makes sense; 0 where it does not."] = 0
