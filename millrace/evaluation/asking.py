"""Ask questions of a running stack, so many at a time, and judge what comes back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from millrace.client import Answer, Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected, RequestFailed
from millrace.evaluation.gold import Gold, read_gold
from millrace.evaluation.judging import Judgement, judge, unjudged
from millrace.evaluation.questions import KnownQuestion
from millrace.events.query import AnswerProduced
from millrace.positions import Place
from millrace.reader import LogReader, read
from millrace.topics import ANSWER_PRODUCED

Progress = Callable[[int, int], None]


class AskingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the questions are asked.

    Attributes
    ----------
    tenant, user, groups, labels
        For questions that do not say; labels are added to those of a question.
    top_k : int
        Chunks to retrieve; at least 10, so that all measures can be taken.
    exact : bool
        Search everything visible, without the index.
    timeout_s : float
        Time allowed for each, in seconds.
    concurrency : int
        How many are asked at the same time.
    """

    tenant: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    top_k: int = 10
    exact: bool = False
    timeout_s: float = 30.0
    concurrency: int = 4


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of questions gave.

    Attributes
    ----------
    judgements : tuple of Judgement
        In the order of the questions.
    missing : tuple of str
        Right documents that the index does not have.
    """

    judgements: tuple[Judgement, ...]
    missing: tuple[str, ...] = ()


async def ask_all(
    client: Millrace, questions: Sequence[KnownQuestion], options: AskingOptions, progress: Progress | None = None
) -> Asked:
    """Ask all questions and judge the answers.

    Each is asked once, with the explanation: what was retrieved and what was read from it come from one state of the
    corpus. The signal that the answer depended on is taken from the terminal records in the log.

    Raises
    ------
    Unavailable, ConfigurationError, LogTruncated
        The log cannot be read or written. A question that fails is judged as failed, and the others go on.
    """
    connection = client.connection
    tenants = [question.tenant or options.tenant or client.tenant for question in questions]
    names = {(tenant, doc) for question, tenant in zip(questions, tenants, strict=True) for doc in question.gold}
    gold = await asyncio.to_thread(read_gold, connection, names)
    before = await asyncio.to_thread(_end, connection)
    free, n_done = asyncio.Semaphore(options.concurrency), 0

    async def one(question: KnownQuestion, tenant: str) -> Judgement:
        nonlocal n_done
        async with free:
            found = await _ask(client, question, tenant, options, gold)
        n_done += 1
        if progress is not None:
            progress(n_done, len(questions))
        return found

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*each)) for each in zip(questions, tenants, strict=True)]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    judgements = [task.result() for task in tasks]
    signals = await asyncio.to_thread(_signals, connection, before, {found.trace_id for found in judgements})
    return Asked(
        judgements=tuple(msgspec.structs.replace(found, signal=signals.get(found.trace_id)) for found in judgements),
        missing=tuple(sorted({document for tenant, document in names if (tenant, document) not in gold})),
    )


async def _ask(client: Millrace, question: KnownQuestion, tenant: str, options: AskingOptions, gold: Gold) -> Judgement:
    try:
        answer: Answer = await client.ask(
            question.question,
            tenant=tenant,
            user=question.user or options.user,
            groups=options.groups if question.groups is None else question.groups,
            labels={**options.labels, **question.labels},
            top_k=options.top_k,
            exact=options.exact,
            explain=True,
            timeout_s=options.timeout_s,
        )
    except RequestFailed as error:
        return unjudged(question, tenant, f"{error.reason}: {error}")
    except InputRejected as error:
        return unjudged(question, tenant, f"{error.error_type}: {error}")
    return judge(question, tenant, answer, gold)


def _end(connection: Connection) -> dict[Place, int]:
    with LogReader(connection, [ANSWER_PRODUCED], start="end") as reader:
        return dict(reader.positions)


def _signals(connection: Connection, start: Mapping[Place, int], wanted: set[str]) -> dict[str, float]:
    """Signals by correlation id: a record is in the log before its asker is told; the first of a question counts."""
    found: dict[str, float] = {}
    for event in read(connection, [ANSWER_PRODUCED], start=start):
        if isinstance(event, AnswerProduced) and event.correlation in wanted:
            found.setdefault(event.correlation, event.confidence)
    return found
