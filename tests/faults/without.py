"""Run a worker with one of its defences taken out: ``python -m tests.faults.without NAME worker ...``.

A fault test that passes all the same proves nothing, so each has a control that starts its workers here. What is taken
out is taken out in that process alone, by a class or a function of its own in the place of the project's.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import TopicPartition as ClientPartition

import millrace.ids
import millrace.invoke
import millrace.schema_folder
from agents.corpus.emitted import EmittedVersions
from inference.embedding_cache import EmbeddingCache
from inference.hashing import HashingEmbedder
from infra.__main__ import main
from millrace.codec import Codec, Headers, meta_of
from millrace.event import Event, Origin, attach
from millrace.events.query import Receipt
from millrace.topics import Topic
from streams.ledger import Final, Ledger, TopicPartition
from streams.pump import delivery, handling, pump, tenure
from streams.stores.objects import ContentStore
from streams.visibility import fold
from streams.visibility.tail import Tail


class HighestDone(Ledger):
    """Commits the highest offset that is done, as if everything below were done too."""

    def __init__(self, max_uncommitted: int = 1000) -> None:
        super().__init__(max_uncommitted)
        self._highest: dict[TopicPartition, int] = {}

    def done(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        """Note the offset as the highest one."""
        super().done(tp, offset, epoch)
        self._highest[tp] = max(offset, self._highest.get(tp, -1))

    def done_many(self, tp: TopicPartition, offsets: Collection[int], epoch: int) -> None:
        """Note each offset."""
        for offset in offsets:
            self.done(tp, offset, epoch)

    def committable(self) -> dict[TopicPartition, int]:
        """The highest done offsets."""
        return {tp: highest + 1 for tp, highest in self._highest.items() if self.epoch(tp) is not None}


class ReadIsDone(Ledger):
    """Hands a partition over as if all that was read had been done."""

    def revoke(self, tp: TopicPartition) -> Final:
        """Close the books behind the last record read."""
        part = self._partitions.get(tp)
        final = super().revoke(tp)
        return final if part is None else Final(part.next, final.metadata, final.unfinished)


def without_prefix() -> None:
    """Commit without regard for gaps."""
    vars(pump)["Ledger"] = HighestDone


def without_drain() -> None:
    """Hand partitions over as if all that was read were done."""
    vars(pump)["Ledger"] = ReadIsDone


def without_last_commit() -> None:
    """Leave without committing."""

    async def end(self: tenure.Tenure, partitions: Iterable[ClientPartition]) -> None:
        for tp in partitions:
            self._ledger.revoke(tp)

    type.__setattr__(tenure.Tenure, "end", end)


def without_ownership() -> None:
    """Write without asking whether the partition is still ours."""

    async def guard(self: tenure.Tenure, item: object) -> None:
        """Ask nobody."""

    type.__setattr__(tenure.Tenure, "guard", guard)
    vars(delivery)["Lost"] = type("NeverLost", (Exception,), {})


def without_dead_letters() -> None:
    """Drop what cannot be processed."""

    async def give_up(self: handling.Handler, item: object) -> handling.Verdict:
        return handling.Verdict("done")

    type.__setattr__(handling.Handler, "_give_up", give_up)


def without_derived_ids() -> None:
    """Give outputs a new id each time."""
    vars(millrace.invoke)["output_id"] = lambda *_: secrets.token_hex(16)


def counting() -> None:
    """Take out nothing; note in the home folder how many texts are embedded."""
    noted = Path(os.environ["MILLRACE_HOME"]) / "embedded.txt"
    embed = HashingEmbedder.embed

    async def counted(self: HashingEmbedder, texts: Sequence[str]) -> Any:
        with noted.open("a") as file:
            file.write(f"{len(texts)}\n")
        return await embed(self, texts)

    type.__setattr__(HashingEmbedder, "embed", counted)


def without_memory() -> None:
    """Forget what was emitted and embedded."""

    def newest(self: EmittedVersions, agent: str, tenant: str, document: str) -> None:
        """Know nothing."""

    async def get_many(self: EmbeddingCache, tenant: str, model: str, hashes: Sequence[str]) -> dict[str, bytes]:
        return {}

    type.__setattr__(EmittedVersions, "newest", newest)
    type.__setattr__(EmbeddingCache, "get_many", get_many)


def without_digests() -> None:
    """Believe that an object is what its reference says."""

    async def get(self: ContentStore, ref: str, max_bytes: int = 2**26) -> bytes:
        return await asyncio.to_thread(found, ref.removeprefix("sha256:"))

    def found(digest: str) -> bytes:
        return next(Path(os.environ["MILLRACE_OBJECTS"]).rglob(digest)).read_bytes()

    type.__setattr__(ContentStore, "get", get)


def without_schemas() -> None:
    """Look nowhere for the schemas of other writers."""
    vars(millrace.schema_folder)["writers"] = lambda folder: lambda number: None


def without_history() -> None:
    """Take every change for the first one of its document, with chunk ids drawn by lot."""

    def current(self: Tail, tenant: str, document: str) -> None:
        """Know nothing."""

    def resolved(self: Tail, receipt: Receipt) -> bool:
        return False

    type.__setattr__(Tail, "current", current)
    type.__setattr__(Tail, "resolved", resolved)
    vars(millrace.ids)["chunk_id"] = lambda *_: str(uuid.UUID(bytes=secrets.token_bytes(16)))


def without_tenants() -> None:
    """Take the body's word for whose record it is."""

    def read(
        self: Codec, topic: Topic, key: bytes | None, value: bytes | None, headers: Headers, origin: Origin
    ) -> Event:
        event = self.decode(value)
        return attach(event, msgspec.structs.replace(meta_of(headers, origin), tenant=event.tenant))

    type.__setattr__(Codec, "read", read)


def without_order() -> None:
    """Let the last record win, whatever its version."""
    last = property(lambda version: ((0, 0, 0), version.offset, version.partition))
    type.__setattr__(fold.Version, "precedence", last)


WITHOUT: dict[str, Callable[[], None]] = {
    "prefix": without_prefix,
    "drain": without_drain,
    "last_commit": without_last_commit,
    "ownership": without_ownership,
    "dead_letters": without_dead_letters,
    "derived_ids": without_derived_ids,
    "nothing": counting,
    "memory": without_memory,
    "digests": without_digests,
    "schemas": without_schemas,
    "tenants": without_tenants,
    "order": without_order,
    "history": without_history,
}


def run(arguments: Sequence[str]) -> None:
    """Take out the defences named first, joined by ``+``, and run the command that follows."""
    for name in arguments[0].split("+"):
        WITHOUT[name]()
    sys.argv = [sys.argv[0], *arguments[1:]]
    main()


if __name__ == "__main__":
    run(sys.argv[1:])
