"""Laws about feedback over HTTP: about one's own questions alone, with the identity of the token, within limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.library import QuestionSummary
from gateway.settings import GatewaySettings, Limits
from millrace.connection import Connection
from millrace.events.feedback import FeedbackGiven, InteractionObserved
from millrace.reader import read
from millrace.topics import FEEDBACK_GIVEN, INTERACTION_OBSERVED
from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.pages.shelf import Shelf

OWN, OTHERS, MISSING = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
async def gateway(gateways: Gateways) -> AsyncIterator[Gateway]:
    """A replica that knows a question of ada's and one of bob's."""
    async with gateways.replica(library=shelf()) as running:
        yield running


def shelf() -> Shelf:
    found = Shelf()
    for correlation, user in ((OWN, "ada"), (OTHERS, "bob")):
        found.note(
            QuestionSummary(
                correlation=correlation, trace_id=correlation, question="where?", conversation=f"c-{user}", user=user,
                asked_at_ms=1, answered_at_ms=2, status="answered", n_citations=0, cost_usd=0.0,
            ),
            None,
        )  # fmt: skip
    return found


async def say(gateways: Gateways, gateway: Gateway, question: str = OWN, **body: Any) -> httpx.Response:
    return await gateway.client.post(
        f"/v1/questions/{question}/feedback", json=body or {"kind": "up"}, headers=gateways.bearer()
    )


def written(connection: Connection, tenant: str) -> list[FeedbackGiven | InteractionObserved]:
    return [
        event
        for event in read(connection, [FEEDBACK_GIVEN, INTERACTION_OBSERVED])
        if isinstance(event, FeedbackGiven | InteractionObserved) and event.tenant == tenant
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "up"},
        {"kind": "down", "text": "out of date"},
        {"kind": "rating", "rating": 4},
        {"kind": "correction", "text": "It is 2,000 EUR now."},
        {"kind": "comment", "text": "asked for a colleague"},
    ],
)
async def test_what_is_said_of_an_own_answer_is_on_the_log_under_its_caller(
    gateways: Gateways, gateway: Gateway, body: dict[str, Any]
) -> None:
    response = await say(gateways, gateway, **body)
    assert response.status_code == 202, response.text
    [event] = written(gateways.connection, gateways.tenant)
    assert isinstance(event, FeedbackGiven)
    assert response.json() == {"question": OWN, "id": event.meta.id}
    assert (event.user, event.correlation, event.conversation) == ("ada", OWN, "c-ada")
    assert (event.kind, event.rating, event.text) == (body["kind"], body.get("rating", 0), body.get("text", ""))
    assert event.meta.correlation_id == OWN
    assert not event.implicit


async def test_what_was_done_with_an_answer_is_on_the_log(gateways: Gateways, gateway: Gateway) -> None:
    response = await gateway.client.post(
        f"/v1/questions/{OWN}/interactions", json={"kind": "escalated"}, headers=gateways.bearer()
    )
    assert response.status_code == 202
    [event] = written(gateways.connection, gateways.tenant)
    assert isinstance(event, InteractionObserved)
    assert (event.user, event.kind, event.conversation) == ("ada", "escalated", "c-ada")


@pytest.mark.parametrize("what", ["feedback", "interactions"])
async def test_the_question_of_somebody_else_is_as_one_that_does_not_exist(
    gateways: Gateways, gateway: Gateway, what: str
) -> None:
    async def post(question: str, headers: dict[str, str]) -> tuple[int, str]:
        kind = "up" if what == "feedback" else "copied"
        response = await gateway.client.post(f"/v1/questions/{question}/{what}", json={"kind": kind}, headers=headers)
        return response.status_code, response.text

    missing = await post(MISSING, gateways.bearer())
    assert missing[0] == 404
    assert await post(OTHERS, gateways.bearer()) == missing
    assert await post(OWN, gateways.bearer("mallory")) == missing
    assert written(gateways.connection, gateways.tenant) == []
    assert (await post(OTHERS, gateways.bearer("bob")))[0] == 202, "the control: its own asker may"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "up", "user": "bob"}, 422),
        ({"kind": "up", "tenant": "umbrella"}, 422),
        ({"kind": "rephrased"}, 422),
        ({"kind": "rating"}, 422),
        ({"kind": "rating", "text": "so so"}, 422),
        ({"kind": "rating", "rating": 6}, 422),
        ({"kind": "correction", "text": " "}, 422),
        ({"kind": "comment", "text": "x" * 8001}, 422),
        ({"kind": "comment", "text": "x" * 2_000_000}, 413),
    ],
)
async def test_what_says_nothing_too_much_or_for_others_is_refused(
    gateways: Gateways, gateway: Gateway, body: dict[str, Any], status: int
) -> None:
    response = await say(gateways, gateway, **body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert written(gateways.connection, gateways.tenant) == []


async def test_feedback_counts_as_a_request_of_its_tenant(gateways: Gateways) -> None:
    few = GatewaySettings(limits=Limits(requests_per_minute=2))
    async with gateways.replica(few, library=shelf()) as gateway:
        found = [(await say(gateways, gateway)).status_code for _ in range(3)]
    assert found == [202, 202, 429]


async def test_without_a_token_nothing_is_noted(gateways: Gateways, gateway: Gateway) -> None:
    response = await gateway.client.post(f"/v1/questions/{OWN}/feedback", json={"kind": "up"})
    assert response.status_code == 401
    assert written(gateways.connection, gateways.tenant) == []


async def test_both_are_described(gateway: Gateway) -> None:
    described = (await gateway.client.get("/openapi.json")).json()
    paths, schemas = described["paths"], described["components"]["schemas"]
    for name, body in (("feedback", "FeedbackBody"), ("interactions", "InteractionBody")):
        operation = paths[f"/v1/questions/{{question}}/{name}"]["post"]
        assert {"202", "404", "413", "422", "429"} <= operation["responses"].keys()
        assert body in schemas
