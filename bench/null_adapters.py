"""Ports that cost nothing, and ports that count what passes through them."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from agents.guard.policy import GuardPolicy
from agents.ports import CorpusPorts, Embedder, GuardPorts, QueryPorts, VectorStore
from millrace.rows import Candidate, ChunkRow


class NullEmbedder:
    """Gives every text the same vector."""

    model = "null"
    dim = 384
    max_tokens = 256

    def __init__(self) -> None:
        self._vector = np.full(self.dim, self.dim**-0.5, dtype=np.float32)

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The same row for each text."""
        return np.tile(self._vector, (len(texts), 1))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """One token a word."""
        return [len(text.split()) for text in texts]


class NullStore:
    """Holds nothing and finds nothing."""

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        """Drop rows."""

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:  # noqa: ARG002 - the port's names
        """Claim that everything is there."""
        return set(chunk_ids)

    async def of_document(self, tenant: str, document: str) -> set[str]:  # noqa: ARG002
        """Nothing."""
        return set()

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:  # noqa: ARG002
        """Nothing."""
        return []

    async def candidates(self, tenant: str, **_: Any) -> list[Candidate]:  # noqa: ARG002
        """Nothing."""
        return []

    async def archive(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Do nothing."""

    async def restore(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Do nothing."""

    async def delete(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """Do nothing."""


class CountingEmbedder:
    """Passes calls on and keeps their texts."""

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.calls: list[list[str]] = []

    @property
    def model(self) -> str:
        """Of the model behind."""
        return self.inner.model

    @property
    def dim(self) -> int:
        """Of the model behind."""
        return self.inner.dim

    @property
    def max_tokens(self) -> int:
        """Of the model behind."""
        return self.inner.max_tokens

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of the model behind."""
        self.calls.append(list(texts))
        return await self.inner.embed(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts of the model behind."""
        return self.inner.count_tokens(texts)


class CountingStore:
    """Passes calls on and counts those that write."""

    def __init__(self, inner: VectorStore) -> None:
        self._inner = inner
        self.n_writes = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("upsert", "archive", "restore", "delete"):
            self.n_writes += 1
        return getattr(self._inner, name)


class Counts:
    """Counts what the corpus path does; `adapt` puts the counters in front of its ports."""

    def __init__(self) -> None:
        self.embedder: CountingEmbedder | None = None
        self.stores: list[CountingStore] = []

    def adapt(self, ports: Any) -> Any:
        """Ports of an agent, counted where they are the corpus path's."""
        if not isinstance(ports, CorpusPorts):
            return ports
        if self.embedder is None:
            self.embedder = CountingEmbedder(ports.embedder)
        store: Any = CountingStore(ports.vectors)
        self.stores.append(store)
        return msgspec.structs.replace(ports, embedder=self.embedder, vectors=store)

    @property
    def model(self) -> Embedder:
        """The embedder behind the counter.

        Raises
        ------
        LookupError
            If no agent has been given its ports yet.
        """
        if self.embedder is None:
            raise LookupError("no agent of the corpus path runs yet")
        return self.embedder.inner

    @property
    def calls(self) -> list[list[str]]:
        """Texts of each call of the embedder."""
        return self.embedder.calls if self.embedder is not None else []

    @property
    def n_writes(self) -> int:
        """Calls that wrote to the vector store."""
        return sum(store.n_writes for store in self.stores)


class GuardSwitch:
    """Lets guards look or look away while their agents run; `adapt` puts it in front of what operators set.

    Attributes
    ----------
    on : bool
        Whether the guards do what the policy says. If not, it reads as if questions, answers and documents were not to
        be looked at.
    """

    def __init__(self) -> None:
        self.on = True

    def adapt(self, ports: Any) -> Any:
        """Ports of an agent, with the switch where they are those of guards."""
        if not isinstance(ports, QueryPorts | GuardPorts):
            return ports
        policy: Any = _Switched(self, ports.guard)
        return msgspec.structs.replace(ports, guard=policy)


class _Switched:
    """A guards' policy that can be switched off."""

    def __init__(self, switch: GuardSwitch, policy: GuardPolicy) -> None:
        self._switch = switch
        self._policy = policy

    def __getattr__(self, name: str) -> Any:
        looks = name in {"questions", "answers", "documents"}
        return False if looks and not self._switch.on else getattr(self._policy, name)


def null_question_path(ports: Any) -> Any:
    """Ports of the question path without a model and without a store."""
    if isinstance(ports, QueryPorts):
        return msgspec.structs.replace(ports, embedder=NullEmbedder(), vectors=NullStore())
    return ports
