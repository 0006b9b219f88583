"""Laws about receipts: any replica says what became of a change, and whoever waits for it takes only what is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from gateway import outcomes
from gateway.http.receipts import receipt_token
from gateway.identity import Identity
from gateway.settings import GatewaySettings, Limits
from millrace.client import Outcome
from millrace.errors import Unavailable
from millrace.events.corpus import SourceChanged
from millrace.events.query import Receipt
from millrace.topics import SOURCE_CHANGED
from tests.conditions import until
from tests.gateway.conftest import Gateway, Gateways
from tests.millrace.workers import ScriptedWorker, settled

MARKDOWN = {"Content-Type": "text/markdown"}
OTHER = "umbrella"


def limited(**limits: Any) -> GatewaySettings:
    return GatewaySettings(limits=Limits(**limits))


def of_elsewhere(gateways: Gateways, document: str, *, tenant: str = "") -> Receipt:
    """Receipt of a change that no gateway of this process wrote."""
    return Receipt(tenant or gateways.tenant, document, 1)


async def look(gateway: Gateway, gateways: Gateways, receipt: Receipt, wait_s: float = 0.0) -> httpx.Response:
    token = receipt_token(gateway.service.seals, Identity(tenant=receipt.tenant, user="ada"), receipt)
    headers = gateways.bearer(tenant=receipt.tenant)
    return await gateway.client.get(f"/v1/receipts/{token}?wait={wait_s:g}", headers=headers)


@contextlib.asynccontextmanager
async def looking(
    gateway: Gateway, gateways: Gateways, receipts: Sequence[Receipt], wait_s: float = 60.0
) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """Callers that look at receipts at the same time, gone at the end."""
    tasks = [asyncio.create_task(look(gateway, gateways, receipt, wait_s)) for receipt in receipts]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def refusing_to_read(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> Any:
        raise AssertionError("a reader was started for one receipt")

    monkeypatch.setattr(gateway.service.millrace.waiter, "from_the_beginning", refuse)


async def test_a_replica_that_did_not_write_a_change_says_what_it_has_read_of_it_and_starts_no_reader(
    gateways: Gateways, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing_to_read(gateway, monkeypatch)
    before, later, never = (of_elsewhere(gateways, name) for name in ("before.md", "later.md", "never.md"))
    gateways.library.tell(Outcome(receipt=before, outcome="indexed", version=1, n_chunks=3))
    gateways.library.told.clear()
    async with looking(gateway, gateways, [later]) as [waiting]:
        known = await look(gateway, gateways, before)
        unknown = await look(gateway, gateways, never)
        assert not waiting.done()
        gateways.library.tell(Outcome(receipt=later, outcome="deleted", version=1))
        found = await waiting
    assert (known.json()["outcome"], known.json()["version"], known.json()["n_chunks"]) == ("indexed", 1, 3)
    assert found.json()["outcome"] == "deleted"
    assert unknown.json()["outcome"] == "pending"


async def test_places_to_wait_for_outcomes_are_bounded_for_a_tenant_and_for_all(gateways: Gateways) -> None:
    known = of_elsewhere(gateways, "known.md")
    gateways.library.tell(Outcome(receipt=known, outcome="indexed", version=1))
    gateways.library.told.clear()
    own = [of_elsewhere(gateways, f"{n}.md") for n in range(2)]
    async with gateways.replica(limited(concurrent=3, concurrent_per_tenant=2)) as gateway:
        admission = gateway.service.admission
        async with looking(gateway, gateways, [*own, of_elsewhere(gateways, "2.md", tenant=OTHER)]) as waiting:
            await until(lambda: admission.n_watching == 3)
            too_many = await look(gateway, gateways, of_elsewhere(gateways, "3.md", tenant=OTHER), 60)
            at_once = await look(gateway, gateways, known, 60)
            assert [task.done() for task in waiting] == [False] * 3
            waiting[2].cancel()
            await until(lambda: admission.n_watching == 2)
            third = await look(gateway, gateways, of_elsewhere(gateways, "4.md"), 60)
            gateways.library.tell(*(Outcome(receipt=receipt, outcome="indexed", version=1) for receipt in own))
            found = [(await task).json()["outcome"] for task in waiting[:2]]
        assert admission.n_watching == 0
    assert (third.status_code, third.json()["name"]) == (429, "too_many_receipts")
    assert (too_many.status_code, too_many.json()["name"]) == (503, "overloaded")
    assert third.headers["retry-after"] == too_many.headers["retry-after"] == "1"
    assert at_once.json()["outcome"] == "indexed"  # what is known takes no place
    assert found == ["indexed", "indexed"]


async def test_without_limits_ever_more_callers_wait(gateways: Gateways) -> None:
    """Control: it is the places that refuse."""
    async with gateways.replica(limited(concurrent=1000, concurrent_per_tenant=1000)) as gateway:
        receipts = [of_elsewhere(gateways, f"{n}.md") for n in range(20)]
        async with looking(gateway, gateways, receipts) as waiting:
            await until(lambda: gateway.service.admission.n_watching == 20)
            assert not any(task.done() for task in waiting)


async def test_why_a_change_was_refused_is_told_by_a_replica_that_did_not_write_it(gateways: Gateways) -> None:
    def refuse(change: SourceChanged) -> Any:
        return [settled(change, "rejected", "language", "it is in no language")]

    async with gateways.replica() as writer, gateways.replica() as gateway:
        with ScriptedWorker(gateways.connection, gateways.tenant, SOURCE_CHANGED, refuse):
            put = await writer.client.put(
                "/v1/documents/a.md", content="text", headers={**gateways.bearer(), **MARKDOWN}
            )
            address = f"/v1/receipts/{put.json()['receipt']}?wait=20"
            own = await writer.client.get(address, headers=gateways.bearer())
            receipt = Receipt(gateways.tenant, "a.md", 1)
            gateways.library.tell(Outcome(receipt=receipt, outcome="rejected", version=1, reason="language"))
            other = await gateway.client.get(address, headers=gateways.bearer())
    assert own.json() == other.json()
    assert (own.json()["outcome"], own.json()["message"]) == ("rejected", "it is in no language")


async def test_a_change_of_its_own_that_only_the_table_has_read_is_told_when_the_time_to_wait_is_over(
    gateways: Gateways, gateway: Gateway
) -> None:
    put = await gateway.client.put("/v1/documents/a.md", content="text", headers={**gateways.bearer(), **MARKDOWN})
    receipt = Receipt(gateways.tenant, "a.md", 1)
    assert put.status_code == 202
    async with looking(gateway, gateways, [receipt], 1.0) as [waiting]:
        await until(lambda: gateway.service.admission.n_watching == 1)
        gateways.library.tell(Outcome(receipt=receipt, outcome="indexed", version=1))
        assert (await waiting).json()["outcome"] == "indexed"


@pytest.mark.parametrize(
    "searched",
    [
        Unavailable("the broker is away"),
        Outcome(receipt=Receipt("t", "d", 1), outcome="rejected", version=2, message="m"),
    ],
    ids=["away", "of another version"],
)
async def test_a_refusal_is_told_without_a_message_that_cannot_be_had_and_leaves_its_place(
    gateways: Gateways, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, searched: Outcome | Exception
) -> None:
    async def wait(receipts: Sequence[Receipt], timeout_s: float) -> list[Outcome]:
        if isinstance(searched, Exception):
            raise searched
        return [searched]

    monkeypatch.setattr(gateway.service.millrace.waiter, "wait", wait)
    receipts = [of_elsewhere(gateways, f"{n}.md") for n in range(2)]
    gateways.library.tell(*(Outcome(receipt=each, outcome="rejected", version=1, reason="r") for each in receipts))
    found = [(await look(gateway, gateways, receipt)).json() for receipt in receipts]
    assert [(each["outcome"], each["reason"], each.get("message", "")) for each in found] == [("rejected", "r", "")] * 2
    assert not gateway.service.admission.searches.locked()


async def test_nobody_waits_long_for_a_place_to_search_from(
    gateways: Gateways, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "_WHY_S", 0.05)
    monkeypatch.setattr(gateway.service.admission, "searches", asyncio.Semaphore(0))
    receipt = of_elsewhere(gateways, "a.md")
    gateways.library.tell(Outcome(receipt=receipt, outcome="rejected", version=1, reason="r"))
    async with looking(gateway, gateways, [receipt]) as [waiting]:
        done, _ = await asyncio.wait({waiting}, timeout=20)
        assert done
        assert waiting.result().json()["reason"] == "r"


@pytest.mark.parametrize("bounded", [True, False])
async def test_no_more_readers_than_two_search_for_why_changes_were_refused(
    gateways: Gateways, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *, bounded: bool
) -> None:
    reading: Counter[str] = Counter()
    go_on = asyncio.Event()

    async def wait(receipts: Sequence[Receipt], timeout_s: float) -> list[Outcome]:
        reading["now"] += 1
        reading["most"] = max(reading["most"], reading["now"])
        await go_on.wait()
        reading["now"] -= 1
        return [Outcome(receipt=each, outcome="rejected", version=1, message="why") for each in receipts]

    monkeypatch.setattr(gateway.service.millrace.waiter, "wait", wait)
    if not bounded:
        monkeypatch.setattr(gateway.service.admission, "searches", asyncio.Semaphore(1000))
    receipts = [of_elsewhere(gateways, f"{n}.md") for n in range(6)]
    gateways.library.tell(*(Outcome(receipt=each, outcome="rejected", version=1, reason="r") for each in receipts))
    async with looking(gateway, gateways, receipts) as waiting:
        if bounded:
            await until(lambda: gateway.service.admission.n_watching == 6 and reading["now"] == 2)
        else:
            await until(lambda: reading["now"] == 6)
        go_on.set()
        found = [(await task).json() for task in waiting]
    assert reading["most"] == (2 if bounded else 6)
    assert {each["outcome"] for each in found} == {"rejected"}
    assert {each["reason"] for each in found} == {"r"}  # known, whether or not its message was found in time
