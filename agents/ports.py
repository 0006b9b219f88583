"""What the agents need from outside, as Protocols. Adapters satisfy them by shape and import nothing from here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from millrace.event import Event
from millrace.events.corpus import DocumentIndexed, Order
from millrace.events.query import AnswerProduced, Receipt
from millrace.findings import Finding, Scan
from millrace.groups import EVERYONE
from millrace.parsed import ParsedSource
from millrace.rows import Candidate, ChunkRow, ScannedChunk

if TYPE_CHECKING:  # the policies' packages import this module
    from agents.corpus.policy import CorpusPolicy
    from agents.guard.policy import GuardPolicy
    from agents.query.policy import QueryPolicy


class Principal(msgspec.Struct, frozen=True):
    """Who asks: the user, if any, and the groups in force (``*`` is everyone in the tenant)."""

    user: str = ""
    groups: frozenset[str] = frozenset({EVERYONE})


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def model(self) -> str:
        """Name, version and quantization."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """Tokens beyond this are not read."""

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of shape (n, dim), float32, L2-normalised."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


class EmbeddingCache(Protocol):
    """Embeddings by content hash, within a tenant."""

    async def get_many(self, tenant: str, model: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Known ones among `hashes` (hex)."""

    async def put_many(self, tenant: str, model: str, values: Mapping[str, bytes]) -> None:
        """Remember encoded vectors."""


class ObjectStore(Protocol):
    """Content by digest."""

    async def put(self, data: bytes) -> str:
        """Store; gives the reference ``sha256:<hex>``."""

    async def get(self, ref: str) -> bytes:
        """Content, verified against its digest."""


class Parser(Protocol):
    """Turns documents that are no plain text into Markdown, wherever that is safe to do."""

    async def parse(self, content: Callable[[], Awaitable[bytes]], media_type: str) -> ParsedSource:
        """Parse the document that `content` fetches when its turn has come; Unreadable if it cannot be read."""

    def language(self, text: str) -> str:
        """Main language of a text, BCP 47; empty where it is too short to say."""


class VectorStore(Protocol):
    """Rows of chunks: candidates for a search, and rows by id."""

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        """Write rows; the same id again overwrites itself."""

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:
        """Which ids are stored, live or archived."""

    async def of_document(self, tenant: str, document: str) -> set[str]:
        """All ids stored for a document, live or archived, listed by a version or not."""

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        """Rows in the order asked for; unknown ids are left out."""

    async def candidates(
        self,
        tenant: str,
        *,
        vector: npt.NDArray[np.float32],
        text: str,
        k: int,
        documents: Collection[str] | None = None,
    ) -> list[Candidate]:
        """Union of the k nearest live rows by vector and the k best by words; `documents` restricts."""

    async def archive(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Move superseded rows out of the live table."""

    async def restore(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Move rows back."""

    async def delete(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Remove rows for good."""


class VisibleSet(Protocol):
    """What one principal may see at one watermark."""

    @property
    def watermark(self) -> str:
        """The watermark it holds for."""

    @property
    def n_documents(self) -> int:
        """How many documents it holds."""

    @property
    def n_chunks(self) -> int:
        """How many chunks it holds."""

    def documents(self) -> Collection[str]:
        """Their ids."""

    def get(self, document: str) -> DocumentIndexed | None:
        """The visible version of a document, or None."""

    def why_not(self, document: str, chunk_id: str) -> str | None:
        """None when the chunk is visible, else deleted, superseded, forbidden or filtered."""


class FoldedOutcome(Protocol):
    """How a change ended that made no version."""

    @property
    def order(self) -> Order:
        """Order of the change."""

    @property
    def outcome(self) -> str:
        """As in DocumentSettled: unchanged, superseded, rejected or failed."""


class Visibility(Protocol):
    """The visibility table: folded versions and access."""

    def confirmed(self) -> bool:
        """Whether the end of the log was confirmed within the last seconds; if not, questions are refused."""

    def visible(self, tenant: str, principal: Principal, *, labels: Mapping[str, str] | None = None) -> VisibleSet:
        """The one function that decides what a question may see."""

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest folded version of a document, whoever may read it; deleted ones included."""

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        """All folded versions that are still retained, newest first."""

    def outcome(self, tenant: str, document: str) -> FoldedOutcome | None:
        """Newest folded outcome of a change that made no version."""

    def resolved(self, receipt: Receipt) -> bool:
        """Whether the outcome of a change, or of a later one, has been folded."""

    async def wait_for(self, receipts: Sequence[Receipt], watermark: str = "") -> None:
        """Return when all receipts are resolved and `watermark` is reached."""


class Answers(Protocol):
    """Recent terminal records of questions, so that a redelivered question is not answered twice."""

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        """The first terminal record of a tenant's question, if it has one."""


class Cancellations(Protocol):
    """Questions that were given up lately."""

    def watch(self, tenant: str, correlation: str) -> Awaitable[None]:
        """Done once the question is cancelled by someone of its own tenant, at once if it was."""


class TermStatistics(msgspec.Struct, frozen=True):
    """Recorded term statistics of a tenant."""

    epoch: int
    n_chunks: int
    mean_tokens: float
    frequencies: Mapping[str, int]


class Statistics(Protocol):
    """Recorded term statistics."""

    async def current(self, tenant: str) -> TermStatistics | None:
        """Newest record of a tenant, or None before the first."""


class CorpusTexts(Protocol):
    """The live chunks of a tenant, to be counted."""

    async def count(self, tenant: str) -> int:
        """How many there are; cheap."""

    def scan(self, tenant: str, *, texts: bool = False) -> AsyncIterator[ScannedChunk]:
        """All of them; dear."""


class EmittedVersion(msgspec.Struct, frozen=True):
    """A version that an agent has sent out.

    Attributes
    ----------
    event_id : str
        The input it answers.
    version : DocumentIndexed
        The version, or its deletion, as it will be indexed.
    outputs : tuple of Event
        What was emitted, so that a redelivery of the same input repeats it.
    """

    event_id: str
    version: DocumentIndexed
    outputs: tuple[Event, ...]

    @property
    def order(self) -> Order:
        """Order of the version."""
        return self.version.order


class Emitted(Protocol):
    """What this process has emitted and may not have seen folded yet, bounded."""

    def newest(self, agent: str, tenant: str, document: str) -> EmittedVersion | None:
        """Newest version that `agent` emitted, if it is still known."""

    def remember(self, agent: str, tenant: str, document: str, emitted: EmittedVersion) -> None:
        """Keep a version unless a newer one is kept."""


class CorpusPorts(msgspec.Struct, frozen=True):
    """What featurize and index work with."""

    embedder: Embedder
    cache: EmbeddingCache
    objects: ObjectStore
    parser: Parser
    vectors: VectorStore
    visibility: Visibility
    emitted: Emitted
    policy: CorpusPolicy


class Rank(IntEnum):
    """Whose scan goes first when many wait; the lowest wins."""

    QUESTION = 0
    DOCUMENT = 1
    REPORT = 2


class TextScanner(Protocol):
    """Looks for orders to a model, hidden or plain, in a text."""

    def quick(self, text: str) -> Sequence[Finding]:
        """What the fast subset of the rules finds; for questions and quotes, about a millisecond for 500 characters."""

    def begin(self, text: str, rank: Rank) -> None:
        """Let a full scan begin that will be asked for later; returns at once."""

    async def scan(self, text: str, rank: Rank) -> Scan:
        """What all rules find, in a process of its own and once per content; incomplete after the time limit."""


class KnownScans(Protocol):
    """Outcomes of full scans of documents, by the reference of their text, so that none is scanned at each start."""

    async def get(self, tenant: str, ref: str) -> Scan | None:
        """Outcome of an earlier scan by the same rules."""

    async def put(self, tenant: str, ref: str, scan: Scan) -> None:
        """Remember one."""


class PersonalData(Protocol):
    """Finds personal data with a structure: addresses, numbers of cards, accounts, telephones, identities."""

    def find(self, text: str) -> Sequence[Finding]:
        """Places of personal data and secrets, in order and without overlaps."""


class StatisticsPorts(msgspec.Struct, frozen=True):
    """What measure_statistics works with."""

    texts: CorpusTexts
    statistics: Statistics
    objects: ObjectStore
    policy: CorpusPolicy


class QueryPorts(msgspec.Struct, frozen=True):
    """What the question path works with; `n_reply_partitions` is the number of partitions of the reply topic."""

    embedder: Embedder
    vectors: VectorStore
    visibility: Visibility
    answers: Answers
    cancellations: Cancellations
    statistics: Statistics
    policy: QueryPolicy
    n_reply_partitions: int
    scanner: TextScanner
    known_scans: KnownScans
    personal_data: PersonalData
    guard: GuardPolicy


class Reviewed(Protocol):
    """What people decided about documents."""

    async def caught_up(self) -> None:
        """Return when all that was decided at the time of the call is known."""

    def released(self, tenant: str, document: str, content: str) -> bool:
        """Whether the last decision about this text of this document let it be read."""

    def withdrawn(self, tenant: str, document: str) -> bool:
        """Whether a decision that holds withdrew the document."""


class Access(Protocol):
    """Who may read a document, and its newest version."""

    async def caught_up(self) -> None:
        """Return when all that was in the log at the time of the call is known."""

    def access(self, tenant: str, document: str) -> tuple[int, Collection[str]] | None:
        """Access version and groups; None where no access was ever written."""

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest folded version of a document, whoever may read it; deleted ones included."""


class GuardPorts(msgspec.Struct, frozen=True):
    """What scans documents."""

    scanner: TextScanner
    known_scans: KnownScans
    objects: ObjectStore
    guard: GuardPolicy
    reviewed: Reviewed


class ReviewPorts(msgspec.Struct, frozen=True):
    """What does as people decided about documents."""

    reviewed: Reviewed
    access: Access
    objects: ObjectStore
