"""D3 at every interface: who goes away is no longer answered, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from gateway.faces import faces
from gateway.mcp.uris import uri_of
from tests.conditions import until
from tests.gateway.conftest import Gateways
from tests.gateway.serving import serving
from tests.gateway.stocked import stocked

_CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "ask", "arguments": {"question": "what?"}},
}
_CHAT = {"model": "millrace", "messages": [{"role": "user", "content": "what?"}]}
_LEGACY = {"Accept": "application/json, text/event-stream"}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/questions", {"question": "what?"}, {}),
        ("/v1/questions", {"question": "what?"}, {"Accept": "text/event-stream"}),
        ("/v1/chat/completions", _CHAT, {}),
        ("/v1/chat/completions", {**_CHAT, "stream": True}, {}),
        ("/graphql", {"query": 'mutation {ask(question: "what?") {text}}'}, {}),
        ("/mcp", _CALL, _LEGACY),
    ],
    ids=["json", "events", "chat", "chat-stream", "graphql", "mcp"],
)
async def test_the_question_of_a_caller_that_leaves_is_given_up_within_a_second(
    gateways: Gateways, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    async with gateways.replica(routers=faces()) as replica, serving(replica.app) as client:
        with gateways.answering(lambda question: []) as worker:
            asking = asyncio.create_task(
                client.post(path, json=body, headers={**gateways.bearer(), **headers}, timeout=httpx.Timeout(60))
            )
            await until(lambda: len(worker.seen) == 1)
            assert replica.service.admission.n_asking == 1
            asking.cancel()
            began = asyncio.get_running_loop().time()
            await until(lambda: replica.service.admission.n_asking == 0)
            assert asyncio.get_running_loop().time() - began < 1
            assert replica.service.millrace.pending_questions == 0


@pytest.mark.parametrize("is_masked", [True, False], ids=["masked", "control"])
async def test_every_interface_that_shows_texts_of_documents_masks_them(is_masked: bool) -> None:
    shop = stocked(*faces((lambda text: text.replace("140", "[masked]")) if is_masked else str))
    read = {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri_of("travel.md", 2)}}
    async with shop.client() as client:
        graphql = await client.post("/graphql", json={"query": '{document(id: "travel.md") {source {text}}}'})
        mcp = await client.post("/mcp", json=read, headers=_LEGACY)
    for shown in (graphql.text, mcp.text):
        assert "euros" in shown
        assert ("140" in shown) != is_masked
