"""Where a pump starts reading and what it commits. Never an automatic reset: a position outside the log is an error."""

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from millrace.errors import LogTruncated

_COMMIT_TIMEOUT_S = 10.0


class Start(NamedTuple):
    """Where to start reading a partition, with the metadata of that commit; `fresh` if the group never committed it.

    `end` is the offset after the last record seen when the partition was taken over.
    """

    offset: int
    metadata: str
    fresh: bool
    end: int


async def starts(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], group: str
) -> dict[TopicPartition, Start]:
    """Find where to start: at the committed offset, else at the start of the log.

    Raises
    ------
    LogTruncated
        If a committed offset is no longer, or not yet, in the log.
    """
    if not partitions:
        return {}
    # The public `committed` drops the metadata, which counts how often the head was started.
    coordinator = consumer._coordinator  # noqa: SLF001
    committed: Mapping[TopicPartition, OffsetAndMetadata] = await coordinator.fetch_committed_offsets(list(partitions))
    first = await consumer.beginning_offsets(list(partitions))
    end = await consumer.end_offsets(list(partitions))
    found = {}
    for tp in partitions:
        at = committed.get(tp)
        if at is None:
            found[tp] = Start(first[tp], "", fresh=True, end=end[tp])
        elif first[tp] <= at.offset <= end[tp]:
            found[tp] = Start(at.offset, at.metadata, fresh=False, end=end[tp])
        else:
            raise truncated(group, tp, at.offset, f"the log holds {first[tp]} to {end[tp]}")
    return found


def truncated(group: str, tp: TopicPartition, offset: int | None, found: str) -> LogTruncated:
    """Error of a reader whose position is gone."""
    return LogTruncated(
        f"group {group!r} stands at offset {offset} of {tp.topic}[{tp.partition}], but {found}: records were lost to "
        "retention or with the broker. Ingest the missing range again, then set the group's offset by hand; "
        "Millrace never skips by itself"
    )


async def commit(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, tuple[int, str]]) -> str:
    """Commit offsets with their metadata.

    Returns
    -------
    str
        Empty on success, else why it failed; the caller's books must not move then.
    """
    if not offsets:
        return ""
    try:
        async with asyncio.timeout(_COMMIT_TIMEOUT_S):
            await consumer.commit(dict(offsets))
    except (KafkaError, IllegalStateError, TimeoutError) as error:
        return repr(error)
    return ""
