"""GraphQL shows a caller its own, refuses bombs before anything is looked up, and tells nobody what failed inside."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import Any

import httpx
import pytest

from gateway.graphql.budget import Budget
from gateway.graphql.routes import routes
from gateway.identity import Identity
from gateway.library import SourceText
from gateway.problems import Problem
from gateway.settings import GatewaySettings, Limits
from tests.gateway.graphql.test_budget import BOMBS, UNBOUNDED
from tests.gateway.stocked import CORRELATION, Stocked, StockedLibrary, citation, recorded, stocked

TEXT = "Hotel: The limit is 140 euros."


def shelf() -> StockedLibrary:
    """Documents of two tenants, some with the same names."""
    return StockedLibrary(
        texts={
            "acme": {"a.md": "A", "b.md": "B", "secret.md": "hidden", "travel.md": TEXT},
            "other": {"a.md": "their A", "theirs.md": "their text"},
        },
        groups={("acme", "secret.md"): ("board",)},
        told=[
            recorded(),
            recorded(user="bob", correlation="b0b" * 8),
            recorded(tenant="other", correlation="07e" * 8, citations=(citation("theirs.md"),)),
        ],
    )


def made(library: StockedLibrary | None = None, **options: Any) -> Stocked:
    return stocked(routes, library=library or shelf(), **options)


async def post(made: Stocked, query: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    async with made.client(**(headers or made.bearer())) as client:
        return await client.post("/graphql", json={"query": query, **body})


async def data(made: Stocked, query: str, **options: Any) -> Any:
    response = await post(made, query, **options)
    assert response.status_code == 200, response.text
    assert "errors" not in response.json(), response.text
    return response.json()["data"]


async def test_documents_come_in_pages_that_follow_each_other() -> None:
    query = """query ($after: String! = "") {
      documents(first: 2, after: $after) { nodes { id title labels { name value } } pageInfo { hasNextPage endCursor } }
    }"""
    shop = made()
    first = (await data(shop, query))["documents"]
    assert [node["id"] for node in first["nodes"]] == ["a.md", "b.md"]
    assert first["nodes"][0]["labels"] == [{"name": "team", "value": "hr"}]
    assert first["pageInfo"]["hasNextPage"]
    rest = (await data(shop, query, variables={"after": first["pageInfo"]["endCursor"]}))["documents"]
    assert [node["id"] for node in rest["nodes"]] == ["travel.md"]
    assert rest["pageInfo"] == {"hasNextPage": False, "endCursor": None}


async def test_a_document_has_versions_text_by_span_and_answers_that_quoted_it() -> None:
    query = """{ document(id: "travel.md") {
      version versions { version outcome sourcePosition } source(start: 7, end: 16) { text start end length visible }
      answersFrom { correlationId citations { quote url } }
    } }"""
    found = (await data(made(), query))["document"]
    position = "corpus.source.changed.v1/0/41"
    assert found["versions"] == [{"version": 2, "outcome": "indexed", "sourcePosition": position}]
    assert found["source"] == {"text": TEXT[7:16], "start": 7, "end": 16, "length": len(TEXT), "visible": True}
    assert [answer["correlationId"] for answer in found["answersFrom"]] == [CORRELATION]


@pytest.mark.parametrize(("start", "end"), [(-5, 3), (5, 2), (10**6, None), (0, 10**9)])
async def test_a_span_outside_of_the_text_is_cut_to_it(start: int, end: int | None) -> None:
    query = 'query ($s: Int!, $e: Int) { document(id: "a.md") { source(start: $s, end: $e) { text start end } } }'
    found = (await data(made(), query, variables={"s": start, "e": end}))["document"]["source"]
    assert 0 <= found["start"] <= found["end"] <= 1
    assert found["text"] == "A"[found["start"] : found["end"]]


@pytest.mark.parametrize("is_masked", [True, False], ids=["masked", "control"])
async def test_titles_and_texts_show_no_part_of_what_is_masked_wherever_they_are_cut(is_masked: bool) -> None:
    card = "4111 1111 1111 1111"
    query = """{
      document(id: "travel.md") { title source(start: 14, end: 22) { title text } }
      documents { nodes { title source { title text } } }
    }"""

    def mask(text: str) -> str:
        return text.replace(card, "[card]").replace("Travel", "[trip]")

    library = StockedLibrary({"acme": {"travel.md": f"Paid with {card}."}})
    shop = stocked(partial(routes, mask=mask if is_masked else str), library=library)
    found = await data(shop, query)
    for document in (found["document"], *found["documents"]["nodes"]):
        for shown in (document["title"], document["source"]["title"], document["source"]["text"]):
            assert ("Travel" in shown or "11" in shown) != is_masked


async def test_a_trace_leads_from_an_answer_to_the_position_of_its_source() -> None:
    query = f"""{{ trace(id: "{CORRELATION}") {{
      events {{ type position }} sources {{ chunkId sourcePosition }}
      answer {{ text citations {{ document version chunkId origin {{ indexedAt sourceEvent sourcePosition }} }} }}
    }} }}"""
    found = (await data(made(), query))["trace"]
    (quote,) = found["answer"]["citations"]
    assert quote["origin"] == {
        "indexedAt": "corpus.document.indexed.v1/0/5",
        "sourceEvent": "s1",
        "sourcePosition": "corpus.source.changed.v1/0/41",
    }
    assert quote["chunkId"] == found["sources"][0]["chunkId"]


async def test_a_question_can_be_asked_where_the_token_says_so() -> None:
    query = """mutation { ask(question: "What is the limit?", topK: 3, labels: [{name: "team", value: "hr"}]) {
      text status watermark citations { document } } }"""
    shop = made()
    found = (await data(shop, query))["ask"]
    assert (found["text"], found["status"]) == ("The limit is 140 euros.", "answered")
    ((identity, ask),) = shop.asking.asked
    assert (identity.user, ask.top_k, ask.labels) == ("ada", 3, {"team": "hr"})
    response = await post(shop, query, headers=shop.bearer(scopes=["read"]))
    assert response.json()["errors"][0]["extensions"]["status"] == 403
    assert len(shop.asking.asked) == 1


@pytest.mark.parametrize(
    "given",
    [
        "topK: 0",
        "topK: 1000",
        "timeoutS: -1",
        "timeoutS: 100000",
        'conversation: "a\\u0000b"',
        'after: ["mr1.x"]',
        "labels: [" + '{name: "a", value: "b\\u0007"}' + "]",
    ],
)
async def test_a_question_that_does_not_fit_is_not_asked(given: str) -> None:
    shop = made()
    response = await post(shop, f'mutation {{ ask(question: "x", {given}) {{ text }} }}')
    assert response.json()["errors"][0]["extensions"]["status"] == 422
    assert shop.asking.asked == []


ANYTHING = """query ($id: ID!, $trace: ID!, $after: String! = "") {
  document(id: $id) { id title versions { version } source { text } answersFrom { text } }
  trace(id: $trace) { correlationId answer { text } }
  documents(after: $after) { nodes { id } }
  answers { correlationId }
}"""


@pytest.mark.parametrize("document", ["theirs.md", "secret.md", "t/other/d/a.md", "../other/a.md", "other|a.md"])
@pytest.mark.parametrize("trace", ["07e" * 8, "b0b" * 8])
async def test_a_foreign_name_answers_as_one_that_does_not_exist(document: str, trace: str) -> None:
    shop = made()
    found = await post(shop, ANYTHING, variables={"id": document, "trace": trace})
    missing = await post(shop, ANYTHING, variables={"id": "nowhere.md", "trace": "0" * 24})
    assert found.content == missing.content
    assert found.json()["data"]["document"] is None
    assert [node["id"] for node in found.json()["data"]["documents"]["nodes"]] == ["a.md", "b.md", "travel.md"]
    assert [answer["correlationId"] for answer in found.json()["data"]["answers"]] == [CORRELATION]


async def test_a_cursor_of_another_tenant_opens_nothing() -> None:
    shop = made()
    page = "{ documents(first: 1) { nodes { id } pageInfo { endCursor } } }"
    theirs = await data(shop, page, headers=shop.bearer(tenant="other"))
    cursor = theirs["documents"]["pageInfo"]["endCursor"]
    response = await post(shop, ANYTHING, variables={"id": "a.md", "trace": "x", "after": cursor})
    assert response.json()["data"] is None
    assert response.json()["errors"][0]["extensions"]["status"] == 422


async def test_without_a_token_or_its_scope_nothing_is_looked_up() -> None:
    shop = made()
    assert (await post(shop, ANYTHING, headers={"X-Test": "1"})).status_code == 401
    assert (await post(shop, ANYTHING, headers=shop.bearer(scopes=["ask"]))).status_code == 403
    assert shop.library.n_calls == 0


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_before_anything_is_looked_up(name: str) -> None:
    shop = made(settings=GatewaySettings(graphql=Budget(cost=1500)))
    response = await post(shop, BOMBS[name])
    assert response.status_code == 400
    assert len(response.json()["errors"]) == 1
    assert response.json().get("data") is None
    assert (shop.library.n_calls, shop.asking.asked) == (0, [])


@pytest.mark.parametrize("name", ["alias flood", "duplicate fields", "many asked for", "dear", "questions"])
async def test_without_a_budget_a_bomb_goes_off(name: str) -> None:
    shop = made(settings=GatewaySettings(graphql=UNBOUNDED))
    response = await post(shop, BOMBS[name])
    assert response.status_code == 200, response.text
    assert shop.library.n_calls + len(shop.asking.asked) > 0


@pytest.mark.parametrize(
    "request_of",
    [
        lambda client: client.get("/graphql", params={"query": "{ answers { text } }"}),
        lambda client: client.post("/graphql", json=[{"query": "{ answers { text } }"}]),
        lambda client: client.post("/graphql", data={"query": "{ answers { text } }"}),
        lambda client: client.post("/graphql", files={"0": b"x"}),
        lambda client: client.post("/graphql", content="{ answers }", headers={"Content-Type": "application/graphql"}),
        lambda client: client.post("/graphql", json={"query": "{ answers { text } }", "tenant": "other"}),
        lambda client: client.get("/graphql", headers={"Accept": "text/html"}),
    ],
    ids=["GET", "batch", "form", "upload", "plain", "tenant", "page"],
)
async def test_there_is_no_other_way_in(request_of: Any) -> None:
    shop = made()
    async with shop.client(**shop.bearer()) as client:
        response = await request_of(client)
    assert response.status_code in {405, 415, 422}
    assert shop.library.n_calls == 0


async def test_the_schema_is_told_only_where_the_setting_says_so() -> None:
    query = "{ __schema { queryType { name } } }"
    assert (await post(made(), query)).status_code == 400
    allowed = made(settings=GatewaySettings(graphql=Budget(introspection=True)))
    assert (await data(allowed, query))["__schema"]["queryType"]["name"] == "Query"
    endless = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    assert (await post(allowed, endless)).status_code == 400


async def test_what_fails_inside_is_told_to_nobody_and_logged_without_words(caplog: pytest.LogCaptureFixture) -> None:
    library = shelf()
    library.fails_with = RuntimeError("password=hunter2 at /srv/secret")
    with caplog.at_level(logging.DEBUG):
        response = await post(made(library), '{ document(id: "4111 1111 1111 1111") { title } }')
    assert response.status_code == 200
    assert response.json()["data"] == {"document": None}
    (error,) = response.json()["errors"]
    assert error["extensions"]["name"] == "internal"
    for text in (response.text, caplog.text):
        assert "hunter2" not in text
    assert "4111" not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_problem_keeps_its_name_and_when_to_come_again() -> None:
    shop = made(script=[Problem(503, "overloaded", "too many questions", retry_after_s=2)])
    response = await post(shop, 'mutation { ask(question: "x") { text } }')
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"name": "overloaded", "status": 503, "retryAfterMs": 2000}


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{ nothing }"},
        {"query": "{ documents(first: 0) { nodes { id } } }"},
        {"query": "{ documents(first: -1) { nodes { id } } }"},
        {"query": "query a { answers { text } } query b { answers { text } }"},
        {"query": "{ answers { text } }", "operationName": "other"},
        {"query": "subscription { answers { text } }"},
        {"query": "query ($n: Int!) { answers(first: $n) { text } }", "variables": {"n": "x"}},
        {"query": "fragment f on Document { id }"},
        {"query": "{ document(id: 1) { ...nowhere } }"},
        {"query": "   "},
    ],
    ids=json.dumps,
)
async def test_a_mistake_is_told_as_one(body: dict[str, Any]) -> None:
    shop = made()
    response = await post(shop, **body)
    assert response.status_code in {200, 400}, response.text
    assert response.json()["errors"][0]["message"]
    assert shop.library.n_calls == 0


async def test_few_whole_texts_are_held_at_a_time_however_many_are_asked_for() -> None:
    held = most = 0

    class Counting(StockedLibrary):
        async def source(self, identity: Identity, document: str, version: int) -> SourceText | None:
            nonlocal held, most
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1
            return await super().source(identity, document, version)

    many = Counting(texts={"acme": {f"{n}.md": "text" for n in range(50)}})
    found = await data(made(many), "{ documents(first: 50) { nodes { source { text } } } }")
    assert [node["source"]["text"] for node in found["documents"]["nodes"]] == ["text"] * 50
    assert most <= 4


async def test_each_question_of_an_operation_counts_as_a_request() -> None:
    shop = made(settings=GatewaySettings(limits=Limits(requests_per_minute=4)))
    several = " ".join(f'a{n}: ask(question: "what?") {{ text }}' for n in range(8))
    found = (await post(shop, f"mutation {{ {several} }}")).json()
    assert len(shop.asking.asked) == 3
    assert found["errors"][0]["extensions"]["status"] == 429
