"""How a pump becomes a member of its consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from millrace.client.closing import closed
from streams.patience import PatientConsumer
from streams.pump.settings import PumpSettings

_DAY_MS = 86_400_000


async def join(
    connection: Mapping[str, Any],
    group: str,
    topics: Collection[str],
    *,
    settings: PumpSettings,
    listener: ConsumerRebalanceListener,
) -> AIOKafkaConsumer:
    """Connect a consumer and let it join the group in the background.

    Raises
    ------
    KafkaError
        If no broker answers.
    """
    consumer = PatientConsumer(
        **connection,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        partition_assignment_strategy=(RangePartitionAssignor,),  # equal partitions of its topics go together
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.heartbeat_interval_ms,
        rebalance_timeout_ms=settings.rebalance_timeout_ms,
        max_poll_interval_ms=_DAY_MS,  # a pump that waits for a model is alive; see `Pump.alive`
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        fetch_idle_wait_ms=settings.fetch_idle_wait_ms,
    )
    try:
        await consumer.start()
    except BaseException:
        await closed(consumer.stop())
        raise
    if settings.leader_delay_ms:
        wait_for_followers(consumer, settings.leader_delay_ms / 1000)
    consumer.subscribe(list(topics), listener=listener)
    return consumer


def wait_for_followers(consumer: AIOKafkaConsumer, delay_s: float) -> None:
    """Let the followers ask for their assignment before the leader names it.

    The broker inside librdkafka regards a group as complete once its leader has named the assignments, and refuses a
    follower that asks after that (InvalidRequestError, seen); a real broker answers it.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - aiokafka has no seam between joining and assigning
    assign: Callable[[Any], Awaitable[Any]] = coordinator._perform_assignment  # noqa: SLF001

    async def later(response: Any) -> Any:
        if len(response.members) > 1:
            await asyncio.sleep(delay_s)
        return await assign(response)

    coordinator._perform_assignment = later  # noqa: SLF001
