"""Clients of others work by changing an address: OpenAI's, LangChain's, the Model Context Protocol's own; GraphQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import numpy as np
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from openai import AsyncOpenAI
from pydantic import SecretStr

from gateway.app import create_app
from gateway.assembly import Replica, assembled
from gateway.faces import faces
from gateway.identity import Identity
from gateway.openai.wire import NOTHING_FOUND
from gateway.reading import open_library
from gateway.settings import GatewaySettings
from inference.hashing import HashingEmbedder
from millrace.contract import codec_of
from streams.stores.objects import ContentStore
from tests.conditions import until
from tests.gateway.callers import Callers, unhurried
from tests.gateway.serving import serving
from tests.system.stacks import System

PAGES = {
    "people/leave.md": "# Parental leave\n\nParents take up to twenty-six weeks of leave.",
    "travel.md": "# Travel\n\n## Hotels\n\nThe hotel limit is 140 euros a night, breakfast included.",
}
BOARD = "The hotel limit of the board is 900 euros a night."
QUESTION = "What is the hotel limit?"
UNKNOWN = "Which birds nest on the roof?"


@dataclass(frozen=True)
class Served:
    """A gateway that listens, over a stack with documents."""

    url: str
    callers: Callers
    tenant: str
    library: Any

    def token(self, user: str = "ada", groups: Sequence[str] = (), tenant: str = "") -> str:
        """Token of a person."""
        headers = self.callers.bearer(user, tenant=tenant or self.tenant, groups=groups)
        return headers["Authorization"].removeprefix("Bearer ")

    def openai(self, token: str = "") -> AsyncOpenAI:
        """OpenAI's own client."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=token or self.token(), max_retries=0)

    @asynccontextmanager
    async def mcp(self, token: str = "") -> AsyncIterator[Client]:
        """The Model Context Protocol's own client."""
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=http)) as client,
        ):
            yield client


@pytest.fixture
async def served(system: System, tenant: str, tmp_path: Path) -> AsyncIterator[Served]:
    """A gateway with every interface, over a stack whose workers run inside the test."""
    connection, callers, settings = system.connection, Callers(), unhurried(GatewaySettings())
    other = f"{tenant}-other"
    async with (
        system.inside(),
        system.client(tenant=tenant) as millrace,
        open_library(
            connection,
            table=tmp_path / "gateway.visibility.db",
            get=ContentStore(system.stack.objects).get,
            codec=codec_of(connection),
        ) as library,
        assembled(
            connection,
            settings,
            library=library,
            verifiers=callers.verifiers(),
            secret=b"of this test run, the same everywhere",
            embedder=HashingEmbedder(),
            replica=Replica(broker_s=20.0),
        ) as service,
    ):
        receipts = [await millrace.put_document(name, text, groups=["*"]) for name, text in PAGES.items()]
        receipts.append(await millrace.put_document("board.md", BOARD, groups=["board"]))
        receipts.append(await millrace.put_document("theirs.md", BOARD, groups=["*"], tenant=other))
        assert {found.outcome for found in await millrace.wait(receipts)} == {"indexed"}
        await until(library.ready, timeout_s=30)
        await library.caught_up()
        async with serving(create_app(service, settings, faces())) as http:
            yield Served(str(http.base_url).rstrip("/"), callers, tenant, library)


@pytest.mark.timeout(180)
async def test_openais_own_client_holds_a_conversation(served: Served) -> None:
    async with served.openai() as client:
        assert [model.id async for model in client.models.list()] == ["millrace", HashingEmbedder().model]
        messages: list[Any] = [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": QUESTION},
        ]
        first = await client.chat.completions.create(model="millrace", messages=messages, temperature=0, user="mallory")
        answer = first.choices[0].message
        assert "140 euros" in (answer.content or "")
        (quote, *_) = first.choices[0].citations  # type: ignore[attr-defined]  # the extension
        ada = Identity(tenant=served.tenant, user="ada")
        source = await served.library.source(ada, quote["document"], quote["version"])
        assert source is not None
        assert source.text[quote["start"] : quote["end"]] == quote["quote"]

        messages += [
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": "How many weeks of parental leave do parents take?"},
        ]
        told = first.millrace  # type: ignore[attr-defined]  # the extension
        options = {"millrace": {"watermark": told["watermark"], "conversation": told["conversation"]}}
        stream = await client.chat.completions.create(
            model="millrace",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=options,
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert "twenty-six weeks" in text
        assert chunks[-1].usage is not None
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-2].choices[0].citations[0]["document"] == "people/leave.md"  # type: ignore[attr-defined]
        assert chunks[-2].millrace["conversation"] == told["conversation"]  # type: ignore[attr-defined]

        nothing = await client.chat.completions.create(
            model="millrace", messages=[{"role": "user", "content": UNKNOWN}], metadata={"millrace.label.team": "none"}
        )
        assert nothing.choices[0].message.content == NOTHING_FOUND
        with pytest.raises(openai.BadRequestError, match="tools"):
            await client.chat.completions.create(
                model="millrace",
                messages=messages,
                tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
            )
        vectors = await client.embeddings.create(model=HashingEmbedder().model, input=["hotel", "leave"])
        assert np.allclose([each.embedding for each in vectors.data], await HashingEmbedder().embed(["hotel", "leave"]))
    async with served.openai("guess") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


@pytest.mark.timeout(180)
async def test_langchains_chat_model_and_embeddings_hold_a_conversation(served: Served) -> None:
    async with httpx.AsyncClient(timeout=30) as http:
        options: dict[str, Any] = {
            "base_url": f"{served.url}/v1",
            "api_key": SecretStr(served.token()),
            "http_async_client": http,
            "max_retries": 0,
        }
        chat = ChatOpenAI(model="millrace", temperature=0, stream_usage=True, **options)
        turns: list[Any] = [SystemMessage("You are helpful."), HumanMessage(QUESTION)]
        first = await chat.ainvoke(turns)
        assert isinstance(first, AIMessage)
        assert "140 euros" in str(first.content)
        assert first.usage_metadata is not None
        assert first.response_metadata["finish_reason"] == "stop"
        turns += [first, HumanMessage("How many weeks of parental leave do parents take?")]
        pieces = [piece async for piece in chat.astream(turns)]
        assert "twenty-six weeks" in "".join(str(piece.content) for piece in pieces)
        labelled = chat.bind(extra_body={"millrace": {"labels": {"team": "none"}}})
        assert (await labelled.ainvoke([HumanMessage(QUESTION)])).content == NOTHING_FOUND
        with pytest.raises(openai.BadRequestError, match="response_format"):
            await chat.bind(response_format={"type": "json_object"}).ainvoke([HumanMessage(QUESTION)])

        embeddings = OpenAIEmbeddings(model=HashingEmbedder().model, check_embedding_ctx_length=False, **options)
        found = await embeddings.aembed_documents(["hotel", "leave"])
        assert np.allclose(found, await HashingEmbedder().embed(["hotel", "leave"]))


@pytest.mark.timeout(180)
async def test_the_protocols_own_client_searches_asks_and_reads(served: Served) -> None:
    async with served.mcp() as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "ask"}
        found = (await client.call_tool("search", {"query": QUESTION, "top_k": 2})).structured_content["passages"]
        assert found[0]["document"] == "travel.md"
        assert "140 euros" in found[0]["text"]
        text = (await client.read_resource(found[0]["resource"])).contents[0].text  # type: ignore[union-attr]
        assert text[found[0]["start"] : found[0]["end"]] == found[0]["text"]
        asked = (await client.call_tool("ask", {"question": QUESTION})).structured_content
        assert "140 euros" in asked["answer"]
        assert asked["citations"][0]["document"] == "travel.md"
        assert (await client.call_tool("ask", {"question": UNKNOWN})).structured_content["found"] is False
        assert [each.name for each in (await client.list_resources()).resources] == sorted(PAGES)
        for foreign in ("board.md", "theirs.md", "nowhere.md"):
            with pytest.raises(MCPError, match="no such resource"):
                await client.read_resource(f"millrace://documents/{foreign}/versions/1")
    async with served.mcp(served.token("bea", groups=["board"])) as client:
        assert "board.md" in [each.name for each in (await client.list_resources()).resources]


LINEAGE = """query ($id: ID!) { trace(id: $id) {
  events { type } answer { text citations { document version start end quote origin { sourcePosition } } } } }"""
ANYTHING = """query ($document: ID!, $trace: ID!) {
  document(id: $document) { id title versions { version sourcePosition } source { text } answersFrom { text } }
  trace(id: $trace) { correlationId answer { text } }
  documents { nodes { id } }
}"""


@pytest.mark.timeout(180)
async def test_graphql_leads_from_an_answer_to_the_position_of_its_source_and_nobody_else_there(served: Served) -> None:
    async def send(token: str, query: str, **variables: str) -> Any:
        async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {token}"}) as http:
            response = await http.post("/graphql", json={"query": query, "variables": variables}, timeout=30)
        assert response.status_code == 200, response.text
        assert "errors" not in response.json(), response.text
        return response.json()["data"]

    ada, bob = served.token(), served.token("bob")
    mallory = served.token("ada", tenant=f"{served.tenant}-other")
    ask = "mutation ($q: String!) { ask(question: $q) { correlationId text status } }"
    asked = (await send(ada, ask, q=QUESTION))["ask"]
    assert asked["status"] == "answered"
    await served.library.caught_up()
    found = (await send(ada, LINEAGE, id=asked["correlationId"]))["trace"]
    assert {"QueryReceived", "AnswerProduced"} <= {event["type"] for event in found["events"]}
    quote = found["answer"]["citations"][0]
    document = (await send(ada, ANYTHING, document=quote["document"], trace="none"))["document"]
    assert quote["origin"]["sourcePosition"] == document["versions"][0]["sourcePosition"]
    assert document["source"]["text"][quote["start"] : quote["end"]] == quote["quote"]
    assert asked["text"] in [answer["text"] for answer in document["answersFrom"]]

    everyone = {ada: sorted(PAGES), bob: sorted(PAGES), mallory: ["theirs.md"]}
    names = ("board.md", "theirs.md", "travel.md", "nowhere.md", f"{served.tenant}/travel.md")
    for (token, readable), name in itertools.product(everyone.items(), names):
        seen = await send(token, ANYTHING, document=name, trace=asked["correlationId"])
        assert [node["id"] for node in seen["documents"]["nodes"]] == readable
        assert (seen["document"] is not None) == (name in readable)
        assert (seen["trace"] is not None) == (token == ada)
