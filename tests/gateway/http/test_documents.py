"""Laws about documents over HTTP: written as their caller may, on the log once it is said so, and no one else's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec
import pytest

from gateway.settings import GatewaySettings, Limits
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.corpus import SourceChanged
from millrace.topics import SOURCE_CHANGED
from tests.conditions import until
from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.libraries import summary
from tests.gateway.serving import serving
from tests.millrace.workers import ScriptedWorker, indexed

MARKDOWN = {"Content-Type": "text/markdown"}


@contextlib.contextmanager
def indexing(connection: Connection, tenant: str) -> Iterator[ScriptedWorker]:
    def behaviour(change: SourceChanged) -> Iterable[Event]:
        return [indexed(change)]

    with ScriptedWorker(connection, tenant, SOURCE_CHANGED, behaviour) as worker:
        yield worker


async def test_a_document_is_on_the_log_and_its_receipt_leads_to_its_outcome(
    gateways: Gateways, gateway: Gateway
) -> None:
    with indexing(gateways.connection, gateways.tenant) as worker:
        put = await gateway.client.put(
            "/v1/documents/folder/a file.md?title=Grüße&groups=staff&label=team=x&label=year=2026",
            content="# Grüße",
            headers={**gateways.bearer(), **MARKDOWN},
        )
        assert put.status_code == 202, put.text
        receipt = put.json()["receipt"]
        outcome = await gateway.client.get(f"/v1/receipts/{receipt}?wait=20", headers=gateways.bearer())
    assert outcome.json()["outcome"] == "indexed"
    (change,) = worker.seen
    assert (change.tenant, change.document, change.title) == (gateways.tenant, "folder/a file.md", "Grüße")
    assert (change.text, change.media_type, change.labels) == (
        "# Grüße",
        "text/markdown",
        {"team": "x", "year": "2026"},
    )
    assert change.acl_version == 1


@pytest.mark.parametrize(
    ("trust", "scope", "asked", "tier"),
    [
        (("services",), "person", "", "untrusted"),
        (("persons",), "person", "", "trusted"),
        (("services",), "person", "trusted", "untrusted"),
        (("persons",), "person", "untrusted", "untrusted"),
    ],
)
async def test_no_caller_raises_the_tier_that_it_has(
    gateways: Gateways, trust: tuple[str, ...], scope: str, asked: str, tier: str
) -> None:
    async with gateways.replica(GatewaySettings(trust=trust)) as gateway:
        with indexing(gateways.connection, gateways.tenant) as worker:
            query = f"?trust={asked}" if asked else ""
            put = await gateway.client.put(
                f"/v1/documents/a.md{query}", content="text", headers={**gateways.bearer(), **MARKDOWN}
            )
            assert put.status_code == 202
            await gateway.client.get(f"/v1/receipts/{put.json()['receipt']}?wait=20", headers=gateways.bearer())
    assert [change.trust for change in worker.seen] == [tier]


async def test_a_receipt_and_a_watermark_are_their_own_callers(gateways: Gateways, gateway: Gateway) -> None:
    put = await gateway.client.put("/v1/documents/a.md", content="text", headers={**gateways.bearer(), **MARKDOWN})
    receipt = put.json()["receipt"]
    for stranger in (gateways.bearer("eve"), gateways.bearer("ada", tenant="umbrella")):
        assert (await gateway.client.get(f"/v1/receipts/{receipt}", headers=stranger)).status_code == 404
        asked = await gateway.client.post(
            "/v1/questions", json={"question": "what?", "after": [receipt]}, headers=stranger
        )
        assert (asked.status_code, asked.json()["errors"][0]["at"]) == (422, "after.0")
    own = await gateway.client.get(f"/v1/receipts/{receipt}", headers=gateways.bearer())
    assert own.json() == {
        "document": "a.md",
        "outcome": "pending",
        "version": 0,
        "reason": "",
        "message": "",
        "n_chunks": 0,
    }


async def test_access_is_set_shown_granted_and_revoked(gateways: Gateways, gateway: Gateway) -> None:
    async def call(method: str, path: str, groups: list[str]) -> int:
        response = await gateway.client.request(method, path, json={"groups": groups}, headers=gateways.bearer())
        return response.status_code

    async def shown() -> Any:
        return (await gateway.client.get("/v1/acl/a.md", headers=gateways.bearer())).json()["groups"]

    assert (await gateway.client.get("/v1/acl/a.md", headers=gateways.bearer())).status_code == 404
    assert await call("PUT", "/v1/acl/a.md", ["staff"]) == 202
    assert await call("POST", "/v1/acl/grant/a.md", ["hr"]) == 202
    assert await shown() == ["hr", "staff"]
    assert await call("POST", "/v1/acl/revoke/a.md", ["staff"]) == 202
    assert await shown() == ["hr"]
    assert await call("PUT", "/v1/acl/a.md", ["*"]) == 202
    assert await call("POST", "/v1/acl/revoke/a.md", ["hr"]) == 422
    assert (await gateway.client.get("/v1/acl/a.md", headers=gateways.bearer(tenant="umbrella"))).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/documents", "read"),
        ("GET", "/v1/documents/a.md", "read"),
        ("PUT", "/v1/documents/a.md", "write"),
        ("PUT", "/v1/documents/a.md?groups=*", "write access"),
        ("DELETE", "/v1/documents/a.md", "write"),
        ("GET", "/v1/acl/a.md", "access"),
        ("PUT", "/v1/acl/a.md", "access"),
        ("POST", "/v1/acl/grant/a.md", "access"),
        ("GET", "/v1/receipts/x", "read"),
        ("POST", "/v1/questions", "ask"),
        ("GET", "/v1/questions/x", "ask"),
    ],
)
async def test_each_thing_takes_its_own_scope(
    gateways: Gateways, gateway: Gateway, method: str, path: str, scope: str
) -> None:
    every = {"ask", "read", "write", "access"}
    for lacking in scope.split():
        headers = {**gateways.bearer(scopes=sorted(every - {lacking})), **MARKDOWN}
        refused = await gateway.client.request(method, path, headers=headers, content=b"{}")
        assert refused.status_code == 403, refused.text
    allowed = await gateway.client.request(
        method, path, headers={**gateways.bearer(scopes=scope.split()), **MARKDOWN}, content=b"{}"
    )
    assert allowed.status_code != 403


async def test_a_body_is_refused_before_it_is_read(gateways: Gateways) -> None:
    settings = GatewaySettings(limits=Limits(document_bytes=2048, body_bytes=1024))
    async with gateways.replica(settings) as gateway:

        async def put(content: Any, **headers: str) -> int:
            response = await gateway.client.put(
                "/v1/documents/a.md", content=content, headers={**gateways.bearer(), **MARKDOWN, **headers}
            )
            return response.status_code

        async def endless() -> Any:
            for _ in range(1000):
                yield b"x" * 1024

        assert await put(b"x" * 2048) == 202
        assert await put(b"x" * 2049) == 413
        assert await put(endless()) == 413
        asked = await gateway.client.post("/v1/questions", json={"question": "x" * 2000}, headers=gateways.bearer())
        assert asked.status_code == 413


async def test_the_list_shows_what_its_caller_may_read(gateways: Gateways, gateway: Gateway) -> None:
    gateways.library.documents_of = {
        gateways.tenant: [summary("a.md"), summary("b.md", "staff"), summary("c.md")],
        "umbrella": [summary("d.md")],
    }

    async def listed(headers: dict[str, str], query: str = "") -> list[str]:
        response = await gateway.client.get(f"/v1/documents{query}", headers=headers)
        assert response.status_code == 200, response.text
        return [each["document"] for each in response.json()["items"]]

    assert await listed(gateways.bearer()) == ["a.md", "c.md"]
    assert await listed(gateways.bearer(groups=["staff"])) == ["a.md", "b.md", "c.md"]
    assert await listed(gateways.bearer(), "?limit=1") == ["a.md"]
    assert await listed(gateways.bearer(), "?tenant=umbrella") == ["a.md", "c.md"]
    for path, headers in (
        ("b.md", gateways.bearer()),
        ("d.md", gateways.bearer(groups=["staff"])),
        ("none.md", gateways.bearer()),
    ):
        response = await gateway.client.get(f"/v1/documents/{path}", headers=headers)
        assert (response.status_code, response.json()["detail"]) == (404, "no such document")


@pytest.mark.parametrize("name", ["", "%00", "a%0Ab", "a%7Fb", "x" * 600])
async def test_an_id_that_could_deceive_is_refused(gateways: Gateways, gateway: Gateway, name: str) -> None:
    response = await gateway.client.put(
        f"/v1/documents/{name}", content="text", headers={**gateways.bearer(), **MARKDOWN}
    )
    assert response.status_code in {404, 405, 422}


async def test_content_of_no_kind_is_refused(gateways: Gateways, gateway: Gateway) -> None:
    response = await gateway.client.put("/v1/documents/a.md", content=b"text", headers=gateways.bearer())
    assert response.status_code == 415
    assert msgspec.json.decode(response.content)["name"] == "unsupported_media_type"


async def test_bodies_of_documents_share_what_memory_there_is(gateways: Gateways) -> None:
    settings = GatewaySettings(limits=Limits(document_bytes=1000, uploads_bytes=2000))
    body_begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"text"
        body_begun.set()
        await go_on.wait()

    async with gateways.replica(settings) as gateway, serving(gateway.app) as client:
        headers = {**gateways.bearer(), **MARKDOWN}
        sending = [
            asyncio.create_task(client.put(f"/v1/documents/{name}.md", content=slowly(), headers=headers))
            for name in "ab"
        ]
        await body_begun.wait()
        await until(lambda: gateway.service.admission.n_uploading == 2000)
        refused = await client.put("/v1/documents/c.md", content=b"text", headers=headers)
        go_on.set()
        assert [response.status_code for response in await asyncio.gather(*sending)] == [202, 202]
        taken = await client.put("/v1/documents/c.md", content=b"text", headers=headers)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert taken.status_code == 202
