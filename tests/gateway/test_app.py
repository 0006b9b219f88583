"""Laws about every request: names, origins, problems, what is counted, what is described."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.types import Message

from gateway.service import Service
from gateway.settings import GatewaySettings
from millrace.errors import ContractError, InputRejected, LogTruncated, Unavailable
from tests.gateway.conftest import Gateway, Gateways


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("gateway.example", 200),
        ("GATEWAY.example:8443", 200),
        ("evil.example", 421),
        ("[2001:db8::7]:80", 200),
        ("[::1]:80", 421),
    ],
)
async def test_a_gateway_is_called_by_its_names_alone(gateways: Gateways, host: str, status: int) -> None:
    async with gateways.replica(GatewaySettings(hosts=("gateway.example", "[2001:db8::7]"))) as gateway:
        response = await gateway.client.get("/health/live", headers={"Host": host})
    assert response.status_code == status


async def test_no_page_of_another_origin_may_call_unless_the_settings_say_so(gateways: Gateways) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    async with (
        gateways.replica() as closed,
        gateways.replica(GatewaySettings(cors_origins=("https://app.example",))) as open_,
    ):
        refused = await closed.client.options("/v1/questions", headers=asked)
        allowed = await open_.client.options("/v1/questions", headers=asked)
        stranger = await open_.client.options("/v1/questions", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (InputRejected("no"), 422, "rejected"),
        (ContractError("no"), 422, "contract"),
        (Unavailable("the broker at 10.0.0.7:9092 is away"), 503, "unavailable"),
        (LogTruncated("gone"), 503, "log_truncated"),
        (TimeoutError(), 503, "unavailable"),
        (ZeroDivisionError("secret"), 500, "internal"),
    ],
)
async def test_an_error_is_a_problem_that_tells_nothing_of_servers(
    gateways: Gateways, error: Exception, status: int, name: str
) -> None:
    def failing(_: Service, __: GatewaySettings) -> APIRouter:
        router = APIRouter()

        @router.get("/fails")
        async def fails() -> None:
            raise error

        return router

    async with gateways.replica(routers=[failing]) as gateway:
        response = await gateway.client.get("/fails")
    assert (response.status_code, response.json()["name"]) == (status, name)
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) == (status == 503)
    assert "10.0.0.7" not in response.text
    assert "secret" not in response.text


async def test_a_failure_that_nobody_foresaw_is_counted_and_has_the_headers_of_every_response(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(_: Service, __: GatewaySettings) -> APIRouter:
        router = APIRouter()

        @router.get("/fails")
        async def fails() -> None:
            raise ZeroDivisionError("of this test")

        return router

    async with gateways.replica(GatewaySettings(secure=True), routers=[failing]) as gateway:
        response = await gateway.client.get("/fails")
        text = (await gateway.client.get("/metrics")).text
    assert (response.status_code, response.json()["name"]) == (500, "internal")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["cache-control"] == "no-store"
    assert "strict-transport-security" in response.headers
    assert 'requests_total{method="GET",route="/fails",status="5xx"} 1.0' in text
    noted = [record for record in caplog.records if record.message == "GET /fails failed"]
    assert [str(record.exc_info[1]) for record in noted if record.exc_info] == ["of this test"]


@pytest.mark.parametrize(("error", "counted"), [(ZeroDivisionError(), True), (TimeoutError(), False)])
async def test_a_response_that_breaks_off_is_counted_unless_its_caller_takes_nothing_more(
    gateways: Gateways, error: Exception, counted: bool
) -> None:
    def failing(_: Service, __: GatewaySettings) -> APIRouter:
        router = APIRouter()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            if counted:
                raise error
            yield b"b"

        @router.get("/breaks")
        async def breaks() -> StreamingResponse:
            return StreamingResponse(pieces())

        return router

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message.get("body") == b"b":
            raise error

    scope = {"type": "http", "method": "GET", "path": "/breaks", "headers": [], "query_string": b""}
    async with gateways.replica(routers=[failing]) as gateway:
        with pytest.raises(Exception, match=r".*") as found:
            await gateway.app(scope, receive, send)
        text = (await gateway.client.get("/metrics")).text
    assert found.value is error or found.value.__cause__ is error
    assert 'route="/breaks",status="2xx"} 1.0' in text
    assert ('route="/breaks",status="5xx"} 1.0' in text) == counted


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b'{"question": "\\ud800"}', "application/json", 422),
        (b'{"question": "a", "tenant": "umbrella"}', "application/json", 422),
        (b'{"question": "a", "groups": ["hr"]}', "application/json", 422),
        (b'{"question": "a", "user": "eve"}', "application/json", 422),
        (b'{"question": ""}', "application/json", 422),
        (b'{"question": "a", "top_k": 1e9}', "application/json", 422),
        (b'{"question": "a", "top_k": "10"}', "application/json", 422),
        (b'{"question": "a", "timeout_s": 0}', "application/json", 422),
        (b'{"question": "a", "timeout_s": NaN}', "application/json", 422),
        (b'{"question": "a", "conversation": "a\\u0000b"}', "application/json", 422),
        (b'{"question": "a", "watermark": "x"}', "application/json", 422),
        (b'{"question": "a", "after": ["x"]}', "application/json", 422),
        (b"[" * 5000, "application/json", 422),
        (b"question=a", "application/x-www-form-urlencoded", 415),
        (b'{"question": "a"}', "text/plain", 415),
        (b'{"question": "a"}', "", 415),
    ],
)
async def test_a_question_that_does_not_fit_its_description_is_refused(
    gateways: Gateways, gateway: Gateway, content: bytes, kind: str, status: int
) -> None:
    headers = {**gateways.bearer(), **({"Content-Type": kind} if kind else {})}
    with gateways.answering() as worker:
        response = await gateway.client.post("/v1/questions", content=content, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert worker.seen == []


async def test_two_credentials_are_none(gateways: Gateways, gateway: Gateway) -> None:
    token = gateways.bearer()["Authorization"]
    both = [("Authorization", token), ("X-API-Key", token.removeprefix("Bearer "))]
    twice = [("Authorization", token), ("Authorization", gateways.bearer("eve")["Authorization"])]
    for headers in (both, twice):
        assert (await gateway.client.get("/v1/documents", headers=headers)).status_code == 401
    assert (await gateway.client.get("/v1/documents", headers={"Authorization": token})).status_code == 200


async def test_counts_have_bounded_labels(gateways: Gateways, gateway: Gateway) -> None:
    await gateway.client.get("/v1/documents", headers=gateways.bearer())
    for n in range(5):
        await gateway.client.get(f"/v1/documents/file-{n}", headers=gateways.bearer())
        await gateway.client.request(f"ODD{n}", f"/nowhere/{n}")
    text = (await gateway.client.get("/metrics")).text
    assert 'millrace_gateway_requests_total{method="GET",route="/v1/documents",status="2xx"} 1.0' in text
    assert 'route="/v1/documents/{document:path}",status="4xx"} 5.0' in text
    assert 'millrace_gateway_requests_total{method="other",route="other",status="4xx"} 5.0' in text
    assert gateways.tenant not in text
    assert "file-1" not in text


async def test_the_description_names_every_way_in_and_every_problem(gateway: Gateway) -> None:
    document = (await gateway.client.get("/openapi.json")).json()
    assert set(document["components"]["securitySchemes"]) == {"token", "key"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["operationId"]
            if path.startswith("/v1/"):
                assert {"401", "403", "429", "503"} <= set(operation["responses"])
                assert operation["security"]
                assert "application/json" not in operation["responses"]["422"]["content"]
    body = document["paths"]["/v1/questions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].rpartition("/")[2] in document["components"]["schemas"]


async def test_health_tells_whether_requests_are_taken(gateway: Gateway) -> None:
    assert (await gateway.client.get("/health/ready")).json() == {"state": "ready"}
    gateway.service.health.draining = True
    away = await gateway.client.get("/health/ready")
    assert (away.status_code, away.json()["detail"]) == (503, "ending")
    assert (await gateway.client.get("/health/live")).status_code == 200
    assert isinstance(away, httpx.Response)
