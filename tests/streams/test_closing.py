"""Whoever is told to end while a client of aiokafka closes ends, wherever a client is opened for a moment alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams import worker
from streams.pump import PumpSettings, membership
from streams.visibility import topic_folder
from tests.millrace.test_client_closing import Closing, at_once

Open = Callable[[pytest.MonkeyPatch, Closing], Awaitable[object]]


async def refused() -> None:
    raise KafkaConnectionError


async def nothing(*_: object) -> list[Any]:
    return []


def _member(monkeypatch: pytest.MonkeyPatch, client: Closing) -> Awaitable[object]:
    consumer = SimpleNamespace(start=refused, stop=client.close)
    monkeypatch.setattr(membership, "PatientConsumer", lambda **_: consumer)
    listener: Any = None
    return membership.join({}, "group", [], settings=PumpSettings(), listener=listener)


def _table(monkeypatch: pytest.MonkeyPatch, client: Closing) -> Awaitable[object]:
    consumer = SimpleNamespace(start=at_once, stop=client.close)
    monkeypatch.setattr(worker, "AIOKafkaConsumer", lambda **_: consumer)
    of: Any = SimpleNamespace(_settings=SimpleNamespace(pump=PumpSettings(), connection={}))
    spec: Any = SimpleNamespace(name="tell", sources=())
    return worker.Worker._check_table(of, spec)


def _view(monkeypatch: pytest.MonkeyPatch, client: Closing) -> Awaitable[object]:
    admin = SimpleNamespace(start=at_once, describe_topics=nothing, close=client.close)
    monkeypatch.setattr(topic_folder, "AIOKafkaAdminClient", lambda **_: admin)
    of: Any = SimpleNamespace(_consumer=SimpleNamespace(topics=nothing), _topics=(), _connection={})
    return topic_folder.TopicFolder._find_partitions(of)


@pytest.mark.parametrize("begin", [_member, _table, _view])
async def test_no_cancellation_is_lost_where_a_client_closes_at_once_again(
    monkeypatch: pytest.MonkeyPatch, begin: Open
) -> None:
    client = Closing()
    closing = asyncio.ensure_future(begin(monkeypatch, client))
    await asyncio.wait_for(client.began.wait(), 20)
    closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled()
