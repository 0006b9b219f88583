"""Ports for asking again: the index as it was and is, what was recorded, and nothing that could be changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, NoReturn, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from agents.corpus.rows_codec import decode_frequencies
from agents.ports import Embedder, TermStatistics
from millrace.agent import AgentSpec
from millrace.errors import ConfigurationError, ObjectError
from millrace.events.corpus import StatisticsComputed
from millrace.events.query import AnswerProduced, ContextRetrieved
from millrace.rows import Candidate, ChunkRow
from streams.recorded.questions import RecordedQuestion
from streams.visibility.visible_set import VisibleSet

_EPOCH: Final = re.compile(r"epoch:(\d+)")
_BUILT: Final = 4
"""Term statistics kept in memory; questions come in order of time, and an epoch that is over does not come again."""


class Incomplete(Exception):
    """A question cannot be asked again as it was asked then.

    Parameters
    ----------
    reason : str
        One of a few words.
    detail : str
        What is missing.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Versioned(Protocol):
    """What a store with an archive can be asked."""

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        """Rows by id, live or archived."""

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:
        """Which ids are stored, live or archived."""

    async def of_document(self, tenant: str, document: str) -> set[str]:
        """All ids stored for a document, live or archived."""

    async def candidates(
        self,
        tenant: str,
        *,
        vector: npt.NDArray[np.float32],
        text: str,
        k: int,
        documents: Collection[str] | None = None,
        archived: bool = False,
    ) -> list[Candidate]:
        """Candidates among the live rows, and among the archived ones where that is asked for."""


class Index:
    """Rows of the store, to be read only; notices what is asked for by id and is no longer there.

    Parameters
    ----------
    store : Versioned
        The live one; rows that were superseded are in its archive.
    archived : bool
        Whether searches look into the archive as well: as of an earlier time they must.
    """

    def __init__(self, store: Versioned, *, archived: bool) -> None:
        self._store = store
        self._archived = archived
        self._there: set[int] = set()
        self.missing: set[str] = set()

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        """Rows by id, live or archived."""
        rows = await self._store.fetch(tenant, chunk_ids)
        self.missing.update(set(chunk_ids) - {row.chunk_id for row in rows})
        return rows

    async def candidates(
        self,
        tenant: str,
        *,
        vector: npt.NDArray[np.float32],
        text: str,
        k: int,
        documents: Collection[str] | None = None,
    ) -> list[Candidate]:
        """Candidates, from the archive as well where that is asked for."""
        return await self._store.candidates(
            tenant, vector=vector, text=text, k=k, documents=documents, archived=self._archived
        )

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:
        """Which ids are stored."""
        return await self._store.existing(tenant, chunk_ids)

    async def check(self, tenant: str, view: VisibleSet) -> None:
        """Note what a visible set lists and the store no longer has; each version is looked for once.

        A search by neighbours would not notice.
        """
        listed: dict[int, set[str]] = {}
        for name in view.documents():
            row = view.row(name)
            if row is not None and row not in self._there and (version := view.get(name)) is not None:
                listed[row] = {chunk.id for chunk in version.chunks}
        wanted = set().union(*listed.values())
        gone = wanted - await self.existing(tenant, wanted) if wanted else set()
        self.missing |= gone
        self._there.update(row for row, ids in listed.items() if not ids & gone)

    async def of_document(self, tenant: str, document: str) -> set[str]:
        """All ids stored for a document."""
        return await self._store.of_document(tenant, document)

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        """Refused."""
        _refuse(rows)

    async def archive(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Refused."""
        _refuse(tenant, chunk_ids)

    async def restore(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Refused."""
        _refuse(tenant, chunk_ids)

    async def delete(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Refused."""
        _refuse(tenant, chunk_ids)


def _refuse(*_: object) -> NoReturn:
    raise ConfigurationError(
        "a replay reads the index and writes nothing; an agent of the question path tried to write"
    )


class RecordedEmbedder:
    """Gives the recorded vector of a question, and asks the model for what was not recorded.

    Parameters
    ----------
    embedder : Embedder
        Today's model.
    context : ContextRetrieved or None
        The recorded context; it counts where the same model made it.
    """

    def __init__(self, embedder: Embedder, context: ContextRetrieved | None) -> None:
        self._embedder = embedder
        self._known = context if context is not None and context.vector and context.model == embedder.model else None

    @property
    def model(self) -> str:
        """Name of today's model."""
        return self._embedder.model

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._embedder.dim

    @property
    def max_tokens(self) -> int:
        """Tokens that today's model reads."""
        return self._embedder.max_tokens

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors, shape (n, dim), float32, L2 norm 1."""
        if self._known is not None and list(texts) == [self._known.question]:
            return np.frombuffer(self._known.vector, dtype="<f4").astype(np.float32)[None, :]
        return await self._embedder.embed(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return self._embedder.count_tokens(texts)


class StatisticsLog:
    """Every record of term statistics that the log still holds.

    Parameters
    ----------
    records : sequence of (StatisticsComputed, int)
        In the order of the log, each with when the broker took it, unix milliseconds.
    get : callable
        ``await get(ref)`` gives the bytes of an object.
    """

    def __init__(
        self, records: Sequence[tuple[StatisticsComputed, int]], get: Callable[[str], Awaitable[bytes]]
    ) -> None:
        self._records = records
        self._get = get
        self._built: dict[str, TermStatistics] = {}

    def of_epoch(self, tenant: str, epoch: int) -> StatisticsComputed | None:
        """The record of an epoch; None where the log lost it."""
        return next((event for event, _ in self._records if (event.tenant, event.epoch) == (tenant, epoch)), None)

    def newest(self, tenant: str, until_ms: int = -1) -> StatisticsComputed | None:
        """The newest record, or the newest that the broker had taken at a time."""
        known = [
            event for event, at_ms in self._records if event.tenant == tenant and (until_ms < 0 or at_ms <= until_ms)
        ]
        return max(known, key=lambda event: event.epoch, default=None)

    async def build(self, event: StatisticsComputed) -> TermStatistics:
        """What a record says.

        Raises
        ------
        ObjectError
            If its object is gone.
        """
        if event.meta.id not in self._built:
            frequencies = await asyncio.to_thread(decode_frequencies, await self._get(event.frequencies))
            self._built[event.meta.id] = TermStatistics(event.epoch, event.n_chunks, event.mean_tokens, frequencies)
            if len(self._built) > _BUILT:
                del self._built[next(iter(self._built))]
        return self._built[event.meta.id]


class RecordedStatistics:
    """The `Statistics` port as it was for one question.

    Parameters
    ----------
    log : StatisticsLog
        What was recorded.
    question : RecordedQuestion
        Its context names the epoch that was used.
    """

    def __init__(self, log: StatisticsLog, question: RecordedQuestion) -> None:
        self._log = log
        self._question = question

    async def current(self, tenant: str) -> TermStatistics | None:
        """The record that the question was ranked with; for one that was searched exactly, the newest of its time.

        Raises
        ------
        Incomplete
            If the log or the object store lost it.
        """
        context = self._question.context
        if context is None or context.statistics == "candidates":
            return None
        epoch = _EPOCH.fullmatch(context.statistics)
        found = (
            self._log.of_epoch(tenant, int(epoch[1]))
            if epoch
            else self._log.newest(tenant, self._question.retrieved_at_ms)
        )
        if found is None and epoch is None:
            return None
        try:
            if found is not None:
                return await self._log.build(found)
        except ObjectError as error:
            raise Incomplete("statistics_gone", str(error)) from error
        raise Incomplete("statistics_gone", f"the log no longer holds the term statistics of {context.statistics}")


class NewestStatistics:
    """The `Statistics` port as it is now."""

    def __init__(self, log: StatisticsLog) -> None:
        self._log = log

    async def current(self, tenant: str) -> TermStatistics | None:
        """The newest record.

        Raises
        ------
        ObjectError
            If its object is gone.
        """
        found = self._log.newest(tenant)
        return None if found is None else await self._log.build(found)


class NothingAnswered:
    """The `Answers` port: no question has its end yet, so each is answered anew."""

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:  # noqa: ARG002 - the port's
        """None."""
        return None


class NothingCancelled:
    """The `Cancellations` port: whoever gave up then does not end the replay now."""

    def watch(self, tenant: str, correlation: str) -> Awaitable[None]:  # noqa: ARG002 - the port's
        """Never done."""
        return asyncio.get_running_loop().create_future()


def with_recorded_context(spec: AgentSpec, context: ContextRetrieved) -> AgentSpec:
    """The question path, with a retrieval that gives a recorded context."""

    async def recorded(*_: object) -> ContextRetrieved:
        return context

    stages = tuple(
        msgspec.structs.replace(stage, function=recorded) if stage.name == "retrieve" else stage
        for stage in spec.stages
    )
    return msgspec.structs.replace(spec, stages=stages)
