"""Open what a replay needs, read the recording, and ask its questions again at their pace."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn, cast

import msgspec
import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

from agents.ports import Embedder, QueryPorts
from infra.composition import open_vectors
from infra.embedders import open_embedder
from infra.guarding import Guards, open_guards
from infra.launch import model_server
from infra.launch.elsewhere import stack_of
from infra.launch.stack import Stack
from infra.replaying.asking import AskerAgain
from infra.replaying.overrides import Overrides
from infra.replaying.ports import (
    Incomplete,
    Index,
    NewestStatistics,
    NothingAnswered,
    NothingCancelled,
    StatisticsLog,
    Versioned,
)
from infra.replaying.series import Series
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ConfigurationError
from millrace.evaluation.replayed import ContextMode, Pair, Replay
from millrace.events.corpus import StatisticsComputed
from millrace.reader import LogReader, decode, raw_record
from millrace.times import now
from millrace.topics import DOCUMENT_INDEXED, STATISTICS_COMPUTED
from streams.recorded.corpus import FOLDED, AsOf, RecordedCorpus, open_corpus
from streams.recorded.pace import LiveQuestions, Pace
from streams.recorded.questions import Range, RecordedQuestion, Recording, read_recording
from streams.stores.objects import ContentStore

log = logging.getLogger(__name__)

_NAME: Final = "replay"
_LAG: Final = "min.compaction.lag.ms"
_ASK_S: Final = 10.0
Reporter = Callable[[int, int, str], None]


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How questions are asked again.

    Attributes
    ----------
    context : ContextMode
        Where their contexts come from.
    rate : float
        Questions a second; 0 for as fast as it goes.
    yields : bool
        Whether it holds back while live questions wait.
    hold_s : float
        How long at a time, in seconds; then the remaining questions are left out.
    asked : str
        The range in words, for the report.
    """

    context: ContextMode = "at_watermark"
    rate: float = 5.0
    yields: bool = True
    hold_s: float = 300.0
    asked: str = ""


async def replay_questions(
    connection: Connection,
    overrides: Overrides,
    wanted: Range,
    options: ReplayOptions,
    progress: Reporter = lambda _done, _total, _text: None,
    tell: Callable[[str], None] = lambda _text: None,
) -> Replay:
    """Ask the recorded questions of a range again.

    Nothing is published or committed, no group is joined, and no file of a live process is written. `tell` takes what a
    person who waits should know.

    Raises
    ------
    ConfigurationError
        The settings name another stack than the connection.
    LogTruncated
        The log has lost its beginning, or a position that the range names.
    Unavailable
        The broker, a model or the store does not answer, and nothing was asked yet.
    """
    began = time.monotonic()
    codec = codec_of(connection)
    recording = await asyncio.to_thread(
        read_recording, connection, wanted, codec=codec, progress=lambda n, total: progress(n, total, "read")
    )
    pairs: list[Pair] = []
    pace = Pace(options.rate)
    if recording.questions:
        async with AsyncExitStack() as services:
            if options.yields:
                live = LiveQuestions(connection)
                services.callback(live.close)
                pace = Pace(options.rate, live, limit_s=options.hold_s, tell=tell)
            asker = await services.enter_async_context(
                opened(connection, overrides, recording.questions, options.context, codec, progress)
            )
            pairs = await Series(asker, pace, tell=tell).ask(recording.questions, progress)
    return Replay(
        made_at=now(),
        context=options.context,
        asked=options.asked,
        changed=overrides.changed,
        pairs=tuple(pairs),
        n_undecodable=recording.n_undecodable,
        held_s=pace.held_s,
        seconds=time.monotonic() - began,
        notes=_notes(recording),
    )


@asynccontextmanager
async def opened(
    connection: Connection,
    overrides: Overrides,
    questions: Sequence[RecordedQuestion],
    context: ContextMode,
    codec: Codec,
    progress: Reporter = lambda _done, _total, _text: None,
) -> AsyncIterator[AskerAgain]:
    """Open what asks questions again; everything is closed at the end.

    Raises
    ------
    ConfigurationError, LogTruncated, Unavailable
        See `replay_questions`.
    """
    async with AsyncExitStack() as services:
        own = services.enter_context(TemporaryDirectory(prefix="millrace-replay-"))
        stack = await asyncio.to_thread(stack_of, overrides.settings)
        _check(stack, connection)
        corpus: RecordedCorpus = await asyncio.to_thread(
            services.enter_context,
            open_corpus(
                connection,
                codec=codec,
                log_epoch=stack.log_epoch,
                kept_ms=await asyncio.to_thread(_kept_ms, connection),
                progress=lambda n, total: progress(n, total, "fold"),
            ),
        )
        objects = ContentStore(stack.objects)
        records = await asyncio.to_thread(_statistics, connection, codec)
        statistics = StatisticsLog(records, objects.get)
        if context == "recorded":
            embedder: Embedder = _Unasked(questions)
        else:
            served_at = stack.address(model_server.NAME, "grpc")
            embedder = await services.enter_async_context(open_embedder(overrides.settings, served_at))
        store = await open_vectors(overrides.settings, stack, embedder.dim, services)
        guards = await _guards(overrides, Path(own), services)
        ports = QueryPorts(
            embedder=embedder,
            vectors=store,
            visibility=AsOf(corpus, None),
            answers=NothingAnswered(),
            cancellations=NothingCancelled(),
            statistics=NewestStatistics(statistics),
            policy=overrides.query,
            n_reply_partitions=overrides.settings.partitions.reply,
            **guards.of_questions(),
        )
        # Both stores take `archived`, which live questions have no use for.
        index = Index(cast("Versioned", store), archived=context == "at_watermark")
        yield AskerAgain(ports, corpus, index, statistics, context)


async def _guards(overrides: Overrides, own: Path, services: AsyncExitStack) -> Guards:
    """Guards whose memory lies in a folder of the replay's own."""
    stores = overrides.settings.stores.model_copy(update={"state": own})
    apart = overrides.settings.model_copy(update={"stores": stores})
    guards = await open_guards(apart, overrides.guard, {QueryPorts}, _NAME, services)
    await guards.loaded()
    return guards


class _Unasked:
    """The `Embedder` port where contexts are recorded: nothing is embedded, so no model is loaded."""

    model = "recorded"
    max_tokens = 0

    def __init__(self, questions: Sequence[RecordedQuestion]) -> None:
        vectors = [question.context.vector for question in questions if question.context is not None]
        self.dim = max(map(len, vectors), default=4) // 4

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Refuse."""
        _no_context(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Refuse."""
        _no_context(texts)


def _no_context(_: object) -> NoReturn:
    raise Incomplete("no_context", "it was not searched for then, so there is no recorded context")


def _kept_ms(connection: Connection) -> int:
    """How long the broker keeps every version before it compacts; what the catalogue says where it does not tell."""
    if not connection.embedded:
        wanted = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in FOLDED]
        admin = AdminClient(connection.librdkafka() | {"log_level": 2})
        try:
            found = [future.result() for future in admin.describe_configs(wanted, request_timeout=_ASK_S).values()]
            return min(int(each[_LAG].value) for each in found)
        except (KafkaException, KeyError, ValueError) as error:  # a broker may not know the setting
            log.warning("the broker does not say how long it keeps versions: %s", error)
    return DOCUMENT_INDEXED.retention_ms


def _statistics(connection: Connection, codec: Codec) -> list[tuple[StatisticsComputed, int]]:
    found: list[tuple[StatisticsComputed, int]] = []
    with LogReader(connection, [STATISTICS_COMPUTED]) as reader:
        for batch in reader.batches():
            for message in batch:
                record = raw_record(message)
                event = decode(codec, record)
                if isinstance(event, StatisticsComputed):
                    found.append((event, record.timestamp_ms))
    return found


def _check(stack: Stack, connection: Connection) -> None:
    if stack.bootstrap != connection.bootstrap:
        raise ConfigurationError(
            f"the settings name the stack at {stack.bootstrap}, the command line the one at {connection.bootstrap}; a "
            "replay needs the settings, the store and the objects of the stack whose questions it asks: run it where "
            "its workers run, or set MILLRACE_HOME"
        )


def _notes(recording: Recording) -> tuple[str, ...]:
    n = recording.n_undecodable
    return (f"{n} records in the range are no events that this release can read",) if n else ()
