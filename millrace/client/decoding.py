"""Decode what is read on an app's event loop, which waits for no registry."""

import asyncio
from typing import Any

from millrace.codec import Codec
from millrace.event import Event, Origin
from millrace.topics import Topic


async def decoded(codec: Codec, topic: Topic, record: Any) -> Event:
    """Event of a consumed record; whoever knows a schema that was not met yet is asked in a thread.

    Raises
    ------
    ContractError
        The record breaks the contract.
    Unavailable
        The registry that would know its schema does not answer.
    """
    if heads := codec.unmet([record.value]):
        await asyncio.to_thread(codec.meet, heads)
    origin = Origin(record.topic, record.partition, record.offset)
    return codec.read(topic, record.key, record.value, record.headers, origin)
