"""Read the questions of a range from the log, joined with what became of them.

The first record of an id counts; of quality and attribution the highest revision does. Of feedback on an answer each
user's last judgement counts, and behaviour once per kind, as where answers are scored. All questions are counted,
about half a kilobyte of memory each. Texts and vectors, 2 kB each, are kept of at most `limit` questions of a tenant:
those whose ids have the smallest digests, which is a fair sample and the same one however often the log is read.
"""

from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import Final

import msgspec

from millrace.analytics.questions import Asked
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ContractError
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import VerdictGiven
from millrace.events.learn import QualityScored, StageAttributed
from millrace.events.query import AnswerProduced, ContextRetrieved, QueryReceived
from millrace.events.usage import UsageMetered
from millrace.positions import Since
from millrace.reader import LogReader, decode
from millrace.topics import (
    ANSWER_PRODUCED,
    CONTEXT_RETRIEVED,
    FEEDBACK_GIVEN,
    QUALITY_SCORED,
    QUERY_RECEIVED,
    STAGE_ATTRIBUTED,
    USAGE_METERED,
    VERDICT_GIVEN,
    Topic,
)

TOPICS: Final[tuple[Topic, ...]] = (
    QUERY_RECEIVED,
    CONTEXT_RETRIEVED,
    ANSWER_PRODUCED,
    VERDICT_GIVEN,
    FEEDBACK_GIVEN,
    QUALITY_SCORED,
    STAGE_ATTRIBUTED,
    USAGE_METERED,
)
SAMPLED: Final = 50_000
_SLACK: Final = 1.2
_JUDGEMENTS: Final = frozenset({"up", "down", "rating", "correction"})
_PERSONAL: Final = frozenset({"personal_data", "secret"})
_EARLIER_MS: Final = 3_600_000
"""Clocks of brokers and askers may differ: records are looked for from an hour before the range."""

Key = tuple[str, str]
_Said = tuple[int, str, float]
"""When, id and value of a piece of feedback: what is later has a higher one."""


class Collected(msgspec.Struct, frozen=True):
    """Questions of a range.

    Attributes
    ----------
    questions : tuple of Asked
        In order of time; bare searches are left out.
    n_searches : int
        How many of these there were.
    n_unreadable : int
        Records that break the contract.
    """

    questions: tuple[Asked, ...]
    n_searches: int = 0
    n_unreadable: int = 0

    @property
    def tenants(self) -> tuple[str, ...]:
        """Tenants that asked, in order of name."""
        return tuple(sorted({asked.tenant for asked in self.questions}))


class Joined:
    """Joins records of questions, in whatever order they come.

    Parameters
    ----------
    from_us, to_us : int
        Questions asked from the one until before the other, unix microseconds.
    limit : int
        Of how many questions of a tenant texts and vectors are kept.
    """

    def __init__(self, from_us: int, to_us: int, *, limit: int = SAMPLED) -> None:
        self._range = range(from_us, to_us)
        self._limit = limit
        self._rows: dict[Key, Asked] = {}
        self._asked: dict[Key, str] = {}  # mode of those whose question was read
        self._kept: dict[str, dict[Key, int]] = {}
        self._cut: dict[str, int] = {}
        self._seen: set[bytes] = set()
        self._said: dict[Key, dict[tuple[str, str], _Said]] = {}
        self._take: dict[type[Event], Callable[..., None]] = {
            QueryReceived: self._received,
            ContextRetrieved: self._retrieved,
            AnswerProduced: self._answered,
            VerdictGiven: self._judged,
            FeedbackGiven: self._fed_back,
            QualityScored: self._scored,
            StageAttributed: self._attributed,
            UsageMetered: self._metered,
        }

    def add(self, event: Event) -> None:
        """Take a record; others than those of `TOPICS` are nothing to it."""
        take = self._take.get(type(event))
        if take is not None:
            take(event)

    def collected(self, n_unreadable: int = 0) -> Collected:
        """What was joined so far."""
        own = [key for key, mode in self._asked.items() if mode == "answer"]
        for key in own:
            said = sorted(self._said.get(key, {}).values())
            self._rows[key].feedback = [value for _, _, value in said if value]
        rows = sorted((self._rows[key] for key in own), key=lambda row: (row.at_us, row.conversation, row.text))
        return Collected(tuple(rows), len(self._asked) - len(own), n_unreadable)

    def _row(self, event: Event, correlation: str = "") -> Asked:
        key = _key(event, correlation)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Asked(tenant=key[0], at_us=event.meta.time_us)
        return row

    def _received(self, event: QueryReceived) -> None:
        key = _key(event)
        if key in self._asked or event.meta.time_us not in self._range:
            return
        self._asked[key] = event.mode
        row = self._row(event)
        row.at_us, row.user, row.conversation = event.meta.time_us, event.user, event.conversation

    def _retrieved(self, event: ContextRetrieved) -> None:
        if event.mode != "answer" or not event.vector or event.meta.time_us not in self._range:
            return
        key = _key(event)
        row = self._row(event)
        if row.vector or not self._keep(key):
            return
        row.text, row.vector, row.model = event.question, event.vector, event.model

    def _answered(self, event: AnswerProduced) -> None:
        row = self._row(event, event.correlation)
        if row.status:
            return
        row.status = event.status
        row.latency_ms = sum(event.timings_ms.values())
        if not row.metered:
            row.n_tokens, row.cost_usd = event.n_tokens_in + event.n_tokens_out, event.cost_usd

    def _judged(self, event: VerdictGiven) -> None:
        if event.subject_kind != "question" or event.kind not in _PERSONAL or not self._first(event):
            return
        row = self._row(event, event.subject)
        row.spans = [*row.spans, *((span.start, span.end) for span in event.spans)]
        row.hidden = row.hidden or event.n_found > len(event.spans)

    def _fed_back(self, event: FeedbackGiven) -> None:
        if event.kind == "comment":
            return
        whose = ("", event.user) if event.kind in _JUDGEMENTS else (event.kind, "")
        said = self._said.setdefault(_key(event, event.correlation), {})
        each = (event.meta.time_us, event.meta.id, event.value)
        said[whose] = max(said.get(whose, each), each)

    def _scored(self, event: QualityScored) -> None:
        row = self._row(event, event.correlation)
        if event.revision > row.quality_revision:
            row.poor, row.quality_revision = event.poor, event.revision

    def _attributed(self, event: StageAttributed) -> None:
        row = self._row(event, event.correlation)
        if event.revision > row.stage_revision:
            row.stage, row.stage_revision = event.stage, event.revision

    def _metered(self, event: UsageMetered) -> None:
        row = self._row(event)
        if not row.metered:
            row.metered = True
            row.n_tokens, row.cost_usd = event.n_tokens_in + event.n_tokens_out, event.cost_usd

    def _first(self, event: Event) -> bool:
        digest = blake2b(event.meta.id.encode(), digest_size=12).digest()
        new = digest not in self._seen
        self._seen.add(digest)
        return new

    def _keep(self, key: Key) -> bool:
        """Whether a question is among those whose text and vector are kept; may let go of others."""
        tenant, rank = key[0], int.from_bytes(blake2b("/".join(key).encode(), digest_size=8).digest())
        kept = self._kept.setdefault(tenant, {})
        if rank >= self._cut.get(tenant, 1 << 64):
            return False
        kept[key] = rank
        if len(kept) > self._limit * _SLACK:
            self._trim(tenant)
        return key in self._kept[tenant]

    def _trim(self, tenant: str) -> None:
        ranked = sorted(self._kept[tenant].items(), key=lambda item: item[1])
        self._kept[tenant] = dict(ranked[: self._limit])
        self._cut[tenant] = ranked[self._limit][1]
        for key, _ in ranked[self._limit :]:
            row = self._rows[key]
            row.text, row.vector = "", b""


def read_questions(
    connection: Connection,
    from_us: int,
    to_us: int,
    *,
    tenants: Collection[str] = (),
    limit: int = SAMPLED,
    progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Questions of a range of time.

    Parameters
    ----------
    connection : Connection
        Where the log is.
    from_us, to_us : int
        Asked from the one until before the other, unix microseconds. What became of them is read up to now.
    tenants : collection of str
        Whose; empty for everybody's. Records of others are not decoded.
    limit : int
        Of how many questions of a tenant texts and vectors are kept.
    progress : callable, optional
        ``progress(n_read, n_total)`` now and then.

    Raises
    ------
    Unavailable, ConfigurationError
        See `LogReader`.
    """
    joined = Joined(from_us, to_us, limit=limit)
    unreadable = 0
    for found in _events(connection, from_us, frozenset(tenants), progress):
        if found is None:
            unreadable += 1
        else:
            joined.add(found)
    return joined.collected(unreadable)


def _events(
    connection: Connection, from_us: int, tenants: frozenset[str], progress: Callable[[int, int], None] | None
) -> Iterable[Event | None]:
    codec: Codec = codec_of(connection)
    start = Since(max(0, from_us // 1000 - _EARLIER_MS))
    with LogReader(connection, list(TOPICS), start=start) as reader:
        for n, record in enumerate(reader, 1):
            if progress is not None and n % 1000 == 0:
                progress(n, reader.total)
            if tenants and record.header("ce_tenant") not in tenants:
                continue
            try:
                yield decode(codec, record)
            except ContractError:
                yield None


def _key(event: Event, correlation: str = "") -> Key:
    return event.tenant, correlation or event.meta.correlation_id or event.meta.id
