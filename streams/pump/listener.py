"""How aiokafka tells a pump about its partitions."""

import logging
from collections.abc import Collection
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

log = logging.getLogger(__name__)


class Owner(Protocol):
    """What is told."""

    async def release(self, partitions: Collection[TopicPartition]) -> None:
        """Give partitions up; the group waits for it."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions over, without making the group wait."""


class Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Tells an owner. aiokafka only logs what a callback raises, so nothing may be raised here."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Wait until the owner has let go."""
        try:
            await self._owner.release(revoked)
        except Exception:
            log.exception("releasing partitions failed; their records are read again by the next owner")

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Pass the news on."""
        self._owner.assigned(assigned)
