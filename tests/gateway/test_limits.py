"""E9 and D1: too much is refused before anything is done for it, with when to come again, and no race exceeds it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

import httpx
import pytest

from gateway import health
from gateway.admission import TOKENS_A_UNIT, units_of
from gateway.http.receipts import receipt_token
from gateway.identity import Identity
from gateway.serving import Listening, listening
from gateway.settings import GatewaySettings, Limits
from millrace.events.query import AnswerCompleted, QueryReceived, Receipt
from tests.conditions import until
from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.reviews import opened
from tests.millrace.workers import completed


def limited(**limits: Any) -> GatewaySettings:
    return GatewaySettings(limits=Limits(**limits))


async def statuses(gateway: Gateway, n: int, headers: dict[str, str], **body: Any) -> Counter[int]:
    asked = [
        gateway.client.post("/v1/questions", json={"question": "what?", **body}, headers=headers) for _ in range(n)
    ]
    return Counter(response.status_code for response in await asyncio.gather(*asked))


@pytest.mark.parametrize("n", [10, 40])
async def test_no_race_exceeds_a_budget_of_requests(gateways: Gateways, n: int) -> None:
    async with gateways.replica(limited(requests_per_minute=n)) as gateway:
        with gateways.answering() as worker:
            found = await statuses(gateway, 3 * n, gateways.bearer())
    assert found == {200: n, 429: 2 * n}
    assert len(worker.seen) == n


async def test_no_race_exceeds_a_budget_of_tokens(gateways: Gateways) -> None:
    async with gateways.replica(limited(tokens_per_minute=10 * TOKENS_A_UNIT)) as gateway:
        with gateways.answering() as worker:
            found = await statuses(gateway, 30, gateways.bearer())
    assert found[200] + found[429] == 30
    assert 5 <= found[200] <= 10  # an answer costs as much as a question, where it comes before the next one
    assert len(worker.seen) == found[200]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/documents/a.md?groups=staff", "text"),
        ("DELETE", "/v1/documents/a.md", None),
        ("PUT", "/v1/acl/a.md", {"groups": ["staff"]}),
        ("POST", "/v1/acl/grant/a.md", {"groups": ["staff"]}),
        ("POST", "/v1/review/items/item-1/decision", {"decision": "release"}),
    ],
)
async def test_whoever_has_written_enough_is_told_when_to_write_again(
    gateways: Gateways, method: str, path: str, body: str | dict[str, Any] | None
) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    headers = gateways.bearer(groups=["reviewers"])
    sent: dict[str, Any] = {"json": body} if isinstance(body, dict) else {"content": body}
    if isinstance(body, str):
        headers["Content-Type"] = "text/markdown"
    async with gateways.replica(limited(documents_per_minute=1)) as gateway:
        first, second = [await gateway.client.request(method, path, headers=headers, **sent) for _ in range(2)]
    assert first.status_code in {200, 202, 404}
    assert second.status_code == 429
    assert 0 < int(second.headers["Retry-After"]) <= 60


async def test_what_a_model_wrote_counts_too(gateways: Gateways) -> None:
    def long_winded(question: QueryReceived) -> list[AnswerCompleted]:
        return [completed(question, text="word " * 500)]

    async with gateways.replica(limited(tokens_per_minute=10 * TOKENS_A_UNIT)) as gateway:
        with gateways.answering(long_winded):
            asked = [(await statuses(gateway, 1, gateways.bearer())).popitem()[0] for _ in range(4)]
    assert asked == [200, 200, 429, 429]  # a question costs 1, its answer 7, and the second answer takes what is left


def test_a_question_costs_its_bytes() -> None:
    assert [units_of(text) for text in ("", "a", "a" * 400, "a" * 401, "ü" * 400)] == [1, 1, 1, 2, 2]


async def test_tenants_have_budgets_of_their_own(gateways: Gateways) -> None:
    async with gateways.replica(limited(requests_per_minute=2)) as gateway:
        own = [await gateway.client.get("/v1/documents", headers=gateways.bearer(f"user-{n}")) for n in range(4)]
        other = await gateway.client.get("/v1/documents", headers=gateways.bearer(tenant="umbrella"))
    assert [response.status_code for response in own] == [200, 200, 429, 429]
    assert other.status_code == 200


async def test_a_refusal_says_when_to_come_again(gateways: Gateways) -> None:
    async with gateways.replica(limited(requests_per_minute=1)) as gateway:
        first = await gateway.client.get("/v1/documents", headers=gateways.bearer())
        second = await gateway.client.get("/v1/documents", headers=gateways.bearer())
    assert first.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert first.headers["ratelimit-policy"] == '"requests";q=1;w=60'
    assert second.status_code == 429
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert second.json()["name"] == "too_many_requests"


async def test_a_question_that_is_too_long_reaches_nobody(gateways: Gateways) -> None:
    async with gateways.replica(limited(question_chars=100)) as gateway:
        with gateways.answering() as worker:
            refused = await gateway.client.post(
                "/v1/questions", json={"question": "x" * 101}, headers=gateways.bearer()
            )
            taken = await gateway.client.post("/v1/questions", json={"question": "x" * 100}, headers=gateways.bearer())
    assert (refused.status_code, refused.json()["name"]) == (422, "question_too_long")
    assert taken.status_code == 200
    assert len(worker.seen) == 1


async def test_places_to_wait_are_bounded_for_a_tenant_and_for_all(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "SILENCE_S", 3600.0)
    brief = {"question": "?", "timeout_s": 5}
    async with gateways.replica(limited(concurrent=3, concurrent_per_tenant=2)) as gateway:
        with gateways.answering(lambda question: []):
            own = [
                asyncio.create_task(
                    gateway.client.post(
                        "/v1/questions", json={"question": "what?", "timeout_s": 20}, headers=gateways.bearer()
                    )
                )
                for _ in range(2)
            ]
            await until(lambda: gateway.service.admission.n_asking == 2)
            third = await gateway.client.post("/v1/questions", json=brief, headers=gateways.bearer())
            other = gateways.bearer(tenant="umbrella")
            own.append(
                asyncio.create_task(
                    gateway.client.post("/v1/questions", json={"question": "?", "timeout_s": 20}, headers=other)
                )
            )
            await until(lambda: gateway.service.admission.n_asking == 3)
            fourth = await gateway.client.post("/v1/questions", json=brief, headers=other)
            assert [each.result().text for each in own if each.done()] == []  # all were waiting meanwhile
            for each in own:
                each.cancel()
            await asyncio.gather(*own, return_exceptions=True)
            await until(lambda: gateway.service.admission.n_asking == 0)
    assert (third.status_code, third.json()["name"]) == (429, "too_many_questions")
    assert (fourth.status_code, fourth.json()["name"]) == (503, "overloaded")
    assert third.headers["retry-after"] == fourth.headers["retry-after"] == "1"


async def test_a_gateway_that_is_behind_takes_no_question(gateways: Gateways) -> None:
    async with gateways.replica(limited(max_lag_s=0.5)) as gateway:
        gateway.service.health.lag_s = 0.6
        response = await gateway.client.post("/v1/questions", json={"question": "?"}, headers=gateways.bearer())
        assert (response.status_code, response.json()["name"]) == (503, "overloaded")
        assert "retry-after" in response.headers
        assert (await gateway.client.get("/health/live")).status_code == 200


async def test_without_a_broker_a_question_is_refused_at_once(gateways: Gateways) -> None:
    async with gateways.replica() as gateway:
        gateway.service.health.broker_answers = False
        started = asyncio.get_running_loop().time()
        response = await gateway.client.post("/v1/questions", json={"question": "?"}, headers=gateways.bearer())
        took_s = asyncio.get_running_loop().time() - started
        ready = await gateway.client.get("/health/ready")
    assert (response.status_code, response.json()["name"]) == (503, "unavailable")
    assert "retry-after" in response.headers
    assert took_s < 2
    assert ready.status_code in {200, 503}  # the next look may have come in between


async def test_while_nobody_answers_one_question_a_second_is_taken(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "SILENCE_S", 0.2)
    monkeypatch.setattr(health, "_PROBE_S", 1000)
    async with gateways.replica() as gateway:
        with gateways.answering(lambda question: []):
            assert await statuses(gateway, 1, gateways.bearer(), timeout_s=1) == {503: 1}
        with gateways.answering() as worker:
            gateway.service.health.workers_away()
            refused = await gateway.client.post("/v1/questions", json={"question": "?"}, headers=gateways.bearer())
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert worker.seen == []
            monkeypatch.setattr(health, "_PROBE_S", 0)
            assert await statuses(gateway, 1, gateways.bearer()) == {200: 1}
            assert await statuses(gateway, 3, gateways.bearer()) == {200: 3}


@pytest.mark.parametrize("parked", [True, False])
async def test_a_question_that_waits_for_a_change_does_not_mean_that_nobody_answers(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, *, parked: bool
) -> None:
    monkeypatch.setattr(health, "SILENCE_S", 0.2)
    monkeypatch.setattr(health, "_PROBE_S", 1000)

    def answered_unless_it_waits(question: QueryReceived) -> list[AnswerCompleted]:
        return [] if question.question == "later" else [completed(question)]

    async with gateways.replica() as gateway:
        who = Identity(tenant=gateways.tenant, user="ada")
        receipt = receipt_token(gateway.service.seals, who, Receipt(gateways.tenant, "a.md", 7))
        body = {"question": "later", "timeout_s": 30, "after": [receipt] if parked else []}
        with gateways.answering(answered_unless_it_waits) as worker:
            waiting = asyncio.create_task(gateway.client.post("/v1/questions", json=body, headers=gateways.bearer()))
            await until(lambda: len(worker.seen) == 1)
            silent_since = asyncio.get_running_loop().time()
            await until(lambda: asyncio.get_running_loop().time() - silent_since > 0.3)
            away = [gateway.service.health.workers_away() for _ in range(2)]
            others = await statuses(gateway, 2, gateways.bearer())
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    assert away == ([False, False] if parked else [False, True])  # one a second is let through all the same
    assert others == ({200: 2} if parked else {503: 2})


async def test_callers_that_allow_no_time_close_the_way_to_nobody(gateways: Gateways) -> None:
    async with gateways.replica() as gateway:
        with gateways.answering(lambda question: []):
            assert await statuses(gateway, 8, gateways.bearer(), timeout_s=0.2) == {503: 8}
        with gateways.answering():
            assert await statuses(gateway, 8, gateways.bearer("bob")) == {200: 8}


async def test_a_head_that_does_not_come_ends_its_connection(gateways: Gateways) -> None:
    how = Listening(head_timeout_s=0.3)
    async with gateways.replica() as gateway, listening(gateway.app, how) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/questions HTTP/1.1\r\nHost: localhost\r\n")
        await writer.drain()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_body_that_does_not_come_ends_its_request(gateways: Gateways) -> None:
    settings = limited(body_timeout_s=0.3)
    async with gateways.replica(settings) as gateway, listening(gateway.app, Listening()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        authorization = gateways.bearer()["Authorization"]
        head = (
            f"POST /v1/questions HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        writer.write(head.encode())
        await writer.drain()
        found = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in found.lower()
        writer.close()


async def test_one_connection_too_many_is_told_to_come_again(gateways: Gateways) -> None:
    how = Listening(connections=2)
    async with gateways.replica() as gateway, listening(gateway.app, how) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = await asyncio.wait_for(reader.read(), 10)
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in found
        for each in (*(one for _, one in held), writer):
            each.close()


async def test_a_port_that_is_taken_is_named(gateways: Gateways) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with gateways.replica() as gateway:
            with pytest.raises(Exception, match=f"cannot listen on 127.0.0.1:{port}"):
                async with listening(gateway.app, Listening(port=port)):
                    pass


async def test_a_served_gateway_says_nothing_of_its_server(gateways: Gateways) -> None:
    async with (
        gateways.replica() as gateway,
        listening(gateway.app, Listening()) as port,
        httpx.AsyncClient() as client,
    ):
        response = await client.get(f"http://127.0.0.1:{port}/health/live")
    assert "server" not in response.headers
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
