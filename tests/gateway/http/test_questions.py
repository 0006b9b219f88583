"""Laws about asking over HTTP: one answer, for its asker alone, and nothing that the asker must not learn."""

from __future__ import annotations

from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.stocked import CORRELATION, recorded, stocked


async def test_a_question_comes_back_with_its_answer(gateways: Gateways, gateway: Gateway) -> None:
    with gateways.answering() as worker:
        response = await gateway.client.post(
            "/v1/questions", json={"question": "where?"}, headers=gateways.bearer(groups=["staff"])
        )
    assert response.status_code == 200, response.text
    assert response.json()["text"] == "echo: where?"
    (question,) = worker.seen
    assert (question.tenant, question.user, question.groups) == (gateways.tenant, "ada", ("*", "staff"))


async def test_without_a_token_there_is_no_detail(gateway: Gateway) -> None:
    response = await gateway.client.post("/v1/questions", json={"question": "where?"})
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert "detail" not in response.json()


async def test_an_answer_is_not_told_again_once_its_quotes_may_not_be_read() -> None:
    shop = stocked()
    shop.asking.recalled = recorded()
    async with shop.client() as client:
        before = await client.get(f"/v1/questions/{CORRELATION}")
        shop.library.groups["acme", "travel.md"] = ("board",)
        after = await client.get(f"/v1/questions/{CORRELATION}")
    assert (before.status_code, before.json()["text"]) == (200, "The limit is 140 euros.")
    assert after.status_code == 404
