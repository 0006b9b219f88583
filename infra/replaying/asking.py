"""Ask one recorded question again, and put the new answer beside the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from agents.ports import Principal, QueryPorts
from agents.query import answer_question
from infra.replaying.ports import (
    Incomplete,
    Index,
    NewestStatistics,
    RecordedEmbedder,
    RecordedStatistics,
    StatisticsLog,
    with_recorded_context,
)
from millrace.errors import LogTruncated, ObjectError, classify
from millrace.evaluation.replayed import ContextMode, Pair, Quoted, Side, judged
from millrace.event import Event
from millrace.events.query import AnswerProduced, ContextRetrieved, Hit, QueryReceived
from millrace.invoke import Invoker, Output, Progress
from streams.recorded.corpus import AsOf, AsRecorded, ContextView, RecordedCorpus
from streams.recorded.questions import RecordedQuestion
from streams.visibility.visible_set import VisibleSet

CANCELLED = "cancelled"


class AskerAgain:
    """Asks recorded questions, one at a time.

    Parameters
    ----------
    ports : QueryPorts
        Today's ports; what stands still for a question is put in their place.
    corpus : RecordedCorpus
        Documents and access as of any watermark.
    index : Index
        Rows, to be read only.
    statistics : StatisticsLog
        Records of term statistics.
    mode : ContextMode
        Where contexts come from.
    """

    def __init__(
        self,
        ports: QueryPorts,
        corpus: RecordedCorpus,
        index: Index,
        statistics: StatisticsLog,
        mode: ContextMode,
    ) -> None:
        self._ports = ports
        self._corpus = corpus
        self._index = index
        self._statistics = statistics
        self._mode = mode

    async def ask(self, question: RecordedQuestion) -> Pair:
        """Answer a question again; a pair that could not be made says why.

        Raises
        ------
        Unavailable
            If a model or a store is down: a comparison with holes would mislead.
        """
        pair = recorded_pair(question)
        try:
            then = _then(question)
            self._index.missing.clear()
            outputs = await self._run(question)
            context = next((event for event in outputs if isinstance(event, ContextRetrieved)), None)
            answer = next(event for event in outputs if isinstance(event, AnswerProduced))
            await self._check(context)
        except Incomplete as found:
            return msgspec.structs.replace(pair, incomplete=found.reason, detail=found.detail)
        except LogTruncated as error:
            return msgspec.structs.replace(pair, incomplete="log_truncated", detail=str(error))
        except ObjectError as error:
            return msgspec.structs.replace(pair, incomplete="object_gone", detail=str(error))
        changes = self._changes(question, context) if question.context is not None and context is not None else {}
        return judged(msgspec.structs.replace(pair, then=then, now=side(answer, context), changes=changes))

    async def _run(self, question: RecordedQuestion) -> Sequence[Event]:
        """What the agents emit now."""
        spec = answer_question
        if self._mode == "recorded" and question.context is not None:
            spec = with_recorded_context(spec, question.context)
        invoker = Invoker(spec)
        event = _without_deadline(question.received, self._ports.policy.max_timeout_ms)
        emitted: list[Output] = []

        async def keep(_: str, outputs: Sequence[Output]) -> None:
            emitted.extend(outputs)

        try:
            await invoker.run(event, self._ports_of(question), keep, Progress())
        except (Incomplete, LogTruncated, ObjectError):
            raise
        except Exception as error:
            if classify(error) == "transient":
                raise
            emitted += invoker.failed(event, error)  # what a worker would say in the end
        return [output.event for output in emitted]

    def _ports_of(self, question: RecordedQuestion) -> QueryPorts:
        context = question.context
        if self._mode == "now":
            visibility: AsOf = AsOf(self._corpus, None)
        elif context is None:
            visibility = _NothingRecorded(self._corpus, None)
        elif self._mode == "recorded":
            visibility = AsRecorded(self._corpus, ContextView(self._corpus, context))
        else:
            visibility = AsOf(self._corpus, context.watermark)
        now = self._mode == "now"
        return msgspec.structs.replace(
            self._ports,
            embedder=RecordedEmbedder(self._ports.embedder, context),
            vectors=self._index,
            visibility=visibility,
            statistics=NewestStatistics(self._statistics) if now else RecordedStatistics(self._statistics, question),
        )

    async def _check(self, context: ContextRetrieved | None) -> None:
        """Whether everything was there that was there then.

        Raises
        ------
        Incomplete
            If it was not.
        """
        if context is not None and self._mode != "recorded":
            view = self._view(context, None if self._mode == "now" else context.watermark)
            if self._mode == "at_watermark" and not context.exact:
                await self._index.check(context.tenant, view)
            self._check_models(context, view)
        if gone := len(self._index.missing):
            raise Incomplete("rows_gone", f"{gone} chunks that it was to see are no longer in the index")

    def _check_models(self, context: ContextRetrieved, view: VisibleSet) -> None:
        versions = (view.get(hit.document) for hit in context.hits)
        others = {version.model for version in versions if version is not None} - {context.model}
        if others:
            raise Incomplete(
                "embedding_model",
                f"the question was embedded by {context.model}, chunks by {', '.join(sorted(others))}: their vectors "
                "cannot be compared; index the corpus with that model first",
            )

    def _changes(self, question: RecordedQuestion, context: ContextRetrieved) -> Mapping[str, int]:
        """Why the chunks differ from the recorded ones, by reason."""
        before = question.context
        if before is None or _ids(before.hits) == _ids(context.hits):
            return {}
        now = self._view(context, None if self._mode == "now" else context.watermark)
        try:
            then: VisibleSet | None = self._view(before, before.watermark)
        except LogTruncated:
            then = None
        found: Counter[str] = Counter()
        old, new = set(_ids(before.hits)), set(_ids(context.hits))
        for hit in before.hits:
            if hit.chunk_id not in new:
                found[f"-{now.why_not(hit.document, hit.chunk_id) or 'rank'}"] += 1
        for hit in context.hits:
            if hit.chunk_id not in old:
                there = then is not None and then.why_not(hit.document, hit.chunk_id) is None
                found["+rank" if there else "+unknown" if then is None else "+new"] += 1
        return dict(found or {"order": 1})

    def _view(self, context: ContextRetrieved, at: str | None) -> VisibleSet:
        asker = Principal(context.user, frozenset(context.groups))
        return self._corpus.visible(context.tenant, asker, at=at, labels=context.labels or None)


class _NothingRecorded(AsOf):
    """The `Visibility` port for a question of which no context was recorded: nobody knows what it saw."""

    def visible(self, tenant: str, principal: object, *, labels: Mapping[str, str] | None = None) -> VisibleSet:  # noqa: ARG002 - the port's
        """Refuse.

        Raises
        ------
        Incomplete
            Always.
        """
        raise Incomplete("no_context", "it was not searched for then, so nothing says what it could have seen")


def side(answer: AnswerProduced, context: ContextRetrieved | None) -> Side:
    """One answer, as a report shows it."""
    return Side(
        status=answer.status,
        text=answer.text,
        error_type=answer.error_type,
        chunks=_ids(context.hits if context is not None else answer.hits),
        quotes=tuple(
            Quoted(each.document, each.chunk_id, each.start, each.end, each.quote) for each in answer.citations
        ),
        confidence=answer.confidence,
        model=answer.model,
        cost_usd=answer.cost_usd,
        ms=answer.timings_ms,
        exact=context.exact if context is not None else False,
        statistics=context.statistics if context is not None else "",
        watermark=context.watermark if context is not None else answer.watermark,
    )


def recorded_pair(question: RecordedQuestion) -> Pair:
    """A question with what was said then; nothing of now."""
    said = [given.value for given in question.feedback if given.value]
    corrections = [given.text for given in question.feedback if given.kind == "correction" and given.text]
    return Pair(
        correlation=question.correlation,
        tenant=question.received.tenant,
        question=question.received.question,
        asked_at_ms=question.asked_at_ms,
        then=side(question.answer, question.context) if question.answer is not None else None,
        feedback=sum(said) / len(said) if said else None,
        correction=corrections[-1] if corrections else "",
    )


def _then(question: RecordedQuestion) -> Side:
    if question.answer is None:
        raise Incomplete("no_answer", "the log holds no end of it: it is still open, or its records are gone")
    if question.answer.error_type == CANCELLED:
        raise Incomplete("cancelled", "whoever asked gave it up, so there is no answer to compare with")
    return side(question.answer, question.context)


def _without_deadline(received: QueryReceived, allowed_ms: int) -> QueryReceived:
    """The question with all the time there is, unless the time it asked for is what it was refused for."""
    wanted = allowed_ms if 1 <= received.timeout_ms <= allowed_ms else received.timeout_ms
    return received.replace(timeout_ms=wanted).with_meta(msgspec.structs.replace(received.meta, deadline_ms=0))


def _ids(hits: Iterable[Hit]) -> tuple[str, ...]:
    return tuple(hit.chunk_id for hit in hits)
