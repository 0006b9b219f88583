"""Laws about review items over HTTP: who sees them, who decides, and what a decision is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.reviews import opened

REVIEWERS: dict[str, Any] = {"groups": ["reviewers"]}
ITEMS = "/v1/review/items"


async def decide(gateway: Gateway, headers: dict[str, str], item: str = "item-1", **body: Any) -> Any:
    return await gateway.client.post(f"{ITEMS}/{item}/decision", json=body or {"decision": "release"}, headers=headers)


async def test_reviewers_list_what_is_open_and_decide_about_it(gateways: Gateways, gateway: Gateway) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    headers = gateways.bearer("rea", **REVIEWERS)
    [item] = (await gateway.client.get(ITEMS, headers=headers)).json()["items"]
    assert (item["item"], item["action"], item["decisions"]) == ("item-1", "hold", [])
    assert item["fitting"] == ["release", "confirm", "dismiss"]
    found = await decide(gateway, headers)
    assert found.status_code == 200
    [made] = found.json()["decisions"]
    assert (made["decision"], made["user"]) == ("release", "rea")
    assert (await gateway.client.get(ITEMS, headers=headers)).json()["items"] == []
    again = (await gateway.client.get(f"{ITEMS}?state=decided", headers=headers)).json()["items"]
    assert [each["item"] for each in again] == ["item-1"]


async def test_the_same_decision_again_is_one_decision(gateways: Gateways, gateway: Gateway) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    headers = gateways.bearer("rea", **REVIEWERS)
    for _ in range(2):
        found = await decide(gateway, headers)
        assert found.status_code == 200
    assert len(found.json()["decisions"]) == 1


async def test_who_is_in_no_group_of_reviewers_gets_403_everywhere(gateways: Gateways, gateway: Gateway) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    headers = gateways.bearer("ben", groups=["sales"])
    for refused in (
        await gateway.client.get(ITEMS, headers=headers),
        await gateway.client.get(f"{ITEMS}/item-1", headers=headers),
        await gateway.client.get(f"{ITEMS}/missing", headers=headers),
        await decide(gateway, headers),
    ):
        assert (refused.status_code, refused.json()["name"]) == (403, "forbidden")
    assert gateways.reviews.made == {}


async def test_a_group_counts_only_from_the_token(gateways: Gateways, gateway: Gateway) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    refused = await decide(gateway, gateways.bearer("ben"), decision="release", groups=["reviewers"])
    assert refused.status_code == 403
    assert (await gateway.client.get(ITEMS)).status_code == 401


async def test_an_item_of_another_tenant_answers_as_a_missing_one(gateways: Gateways, gateway: Gateway) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    headers = gateways.bearer("tom", tenant=f"{gateways.tenant}-other", **REVIEWERS)
    assert (await gateway.client.get(ITEMS, headers=headers)).json()["items"] == []
    for item in ("item-1", "missing"):
        shown = await gateway.client.get(f"{ITEMS}/{item}", headers=headers)
        refused = await decide(gateway, headers, item)
        assert (shown.status_code, refused.status_code) == (404, 404)
        assert shown.json() == refused.json() == {
            "type": "urn:millrace:problem:not-found", "title": "Not Found", "status": 404, "name": "not_found",
            "detail": "no such review item",
        }  # fmt: skip
    assert gateways.reviews.made == {}


@pytest.mark.parametrize("body", [{"decision": "withdraw"}, {"decision": "correct", "text": "No."}])
async def test_a_decision_that_does_not_fit_is_refused_and_says_what_does(
    gateways: Gateways, gateway: Gateway, body: dict[str, str]
) -> None:
    gateways.reviews.put(opened(gateways.tenant))
    refused = await decide(gateway, gateways.bearer("rea", **REVIEWERS), **body)
    assert (refused.status_code, refused.json()["name"]) == (409, "unfitting_decision")
    assert "choose of release, confirm, dismiss" in refused.json()["detail"]


async def test_a_correction_needs_the_right_answer(gateways: Gateways, gateway: Gateway) -> None:
    gateways.reviews.put(opened(gateways.tenant, subject_kind="answer", subject="q1", action="flag", manifest=None))
    headers = gateways.bearer("rea", **REVIEWERS)
    assert (await decide(gateway, headers, decision="correct", text="  ")).status_code == 409
    assert (await decide(gateway, headers, decision="correct", text="Six.")).json()["decisions"][0]["text"] == "Six."
    assert (await decide(gateway, headers, decision="nonsense")).status_code == 422
