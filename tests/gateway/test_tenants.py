"""E2: whatever a request says, its tenant is that of its token; what is another's is as what does not exist."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.http.answers import sealed_watermark
from gateway.http.receipts import receipt_token
from gateway.settings import GatewaySettings, Limits
from millrace.events.query import Dropped, Hit, Receipt
from tests.gateway.conftest import Gateway, Gateways, identity
from tests.gateway.libraries import summary
from tests.gateway.serving import asking, serving
from tests.millrace.workers import completed

VICTIM = "umbrella"
N_PROBES = 10_000 if float(os.environ.get("MILLRACE_FAULT_SCALE", "0.1")) >= 1 else 600
NAMES = (
    "tenant",
    "tenant_id",
    "ce_tenant",
    "x-tenant",
    "user",
    "sub",
    "groups",
    "group",
    "owner",
    "org",
    "as",
    "on_behalf_of",
)
UNLIMITED = GatewaySettings(limits=Limits(requests_per_minute=0, tokens_per_minute=0, documents_per_minute=0))


class Prober:
    """Makes requests of one tenant that name another in every way there is."""

    def __init__(self, seed: int, ids: dict[str, str]) -> None:
        self._chance = random.Random(seed)
        self._ids = ids

    def request(self) -> tuple[str, str, dict[str, Any]]:
        """Method, path, and what else httpx is to send."""
        make: Callable[[], tuple[str, str, dict[str, Any]]] = self._chance.choice(
            [
                self._ask,
                self._document,
                self._receipt,
                self._question,
                self._resume,
                self._list,
                self._access,
                self._say,
            ]
        )
        method, path, options = make()
        headers = {f"X-{name.title()}": VICTIM for name in self._chance.sample(NAMES, 2)}
        options["headers"] = {**headers, **options.get("headers", {})}
        if self._chance.random() < 0.5:
            joint = "&" if "?" in path else "?"
            path += f"{joint}{self._chance.choice(NAMES)}={VICTIM}"
        return method, path, options

    def _damaged(self, found: str) -> str:
        match self._chance.randrange(4):
            case 0:
                return found
            case 1:
                at = self._chance.randrange(len(found))
                return found[:at] + self._chance.choice("abcXYZ019-_") + found[at + 1 :]
            case 2:
                return found[: self._chance.randrange(len(found))]
            case _:
                return "".join(self._chance.choice("abcXYZ019-_") for _ in found)

    def _ask(self) -> tuple[str, str, dict[str, Any]]:
        body: dict[str, Any] = {"question": "secret?", "timeout_s": 0.2}
        field = self._chance.choice([*NAMES, "after", "watermark"])
        body[field] = {
            "after": [self._damaged(self._ids["receipt"])],
            "watermark": self._damaged(self._ids["watermark"]),
        }.get(field, VICTIM)
        return "POST", "/v1/questions", {"json": body}

    def _document(self) -> tuple[str, str, dict[str, Any]]:
        name = self._chance.choice(
            [
                "secret.md",
                f"../{VICTIM}/secret.md",
                f"t/{VICTIM}/d/secret.md",
                f"{VICTIM}/secret.md",
                "%2e%2e/secret.md",
            ]
        )
        return "GET", f"/v1/documents/{quote(name, safe='/%.')}", {}

    def _receipt(self) -> tuple[str, str, dict[str, Any]]:
        return "GET", f"/v1/receipts/{quote(self._damaged(self._ids['receipt'])) or 'x'}", {}

    def _question(self) -> tuple[str, str, dict[str, Any]]:
        return "GET", f"/v1/questions/{quote(self._damaged(self._ids['question'])) or 'x'}", {}

    def _say(self) -> tuple[str, str, dict[str, Any]]:
        kind = self._chance.choice(["feedback", "interactions"])
        body = {"kind": self._chance.choice(["up", "copied"]), self._chance.choice([*NAMES, "text"]): VICTIM}
        return "POST", f"/v1/questions/{quote(self._damaged(self._ids['question'])) or 'x'}/{kind}", {"json": body}

    def _resume(self) -> tuple[str, str, dict[str, Any]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": self._damaged(self._ids["event"]) or "x"}
        return "POST", "/v1/questions", {"headers": headers, "json": {"question": "secret?", VICTIM: 1}}

    def _list(self) -> tuple[str, str, dict[str, Any]]:
        return "GET", f"/v1/documents?after={quote(self._damaged(self._ids['cursor']))}&limit=500", {}

    def _access(self) -> tuple[str, str, dict[str, Any]]:
        return "PUT", "/v1/acl/own.md", {"json": {"groups": ["*"], self._chance.choice(NAMES): VICTIM}}


@pytest.fixture
async def victim(gateways: Gateways) -> dict[str, str]:
    """What a caller of another tenant holds, which must be worth nothing to others."""
    gateways.library.documents_of = {VICTIM: [summary("secret.md")], gateways.tenant: [summary("own.md")]}
    other = Gateways(gateways.connection, VICTIM, gateways.callers, gateways.library)
    async with other.replica(UNLIMITED) as replica, serving(replica.app) as client:
        with other.answering(lambda question: [completed(question, "the secret is xylophone")]):
            async with asking(client, other.bearer("bob")) as stream:
                events = [event async for event in stream]
        bob, seals = identity(VICTIM, "bob"), replica.service.seals
        return {
            "event": events[0].id,
            "question": events[0].data["question"],
            "receipt": receipt_token(seals, bob, Receipt(VICTIM, "secret.md", 1)),
            "watermark": sealed_watermark(seals, bob, "w"),
            "cursor": "secret.md",
        }


@pytest.mark.timeout(600)
async def test_no_request_reaches_into_another_tenant(gateways: Gateways, victim: dict[str, str]) -> None:
    prober = Prober(7, victim)
    asked: set[str] = set()
    async with gateways.replica(UNLIMITED) as gateway:
        with gateways.answering() as worker:
            for n in range(N_PROBES):
                method, path, options = prober.request()
                headers = {**gateways.bearer("mallory"), **options.pop("headers")}
                response = await gateway.client.request(method, path, headers=headers, **options)
                foreign = f"probe {n}: {method} {path} gave {response.status_code} {response.text[:200]}"
                assert response.status_code < 500 or response.status_code == 503, foreign
                assert "xylophone" not in text_of(response), foreign
                assert "secret.md" not in text_of(response), foreign
            asked = {question.tenant for question in worker.seen}
    assert asked <= {gateways.tenant}


def text_of(response: httpx.Response) -> str:
    """What a caller can learn; a problem repeats where in the request something is wrong, never what it was."""
    try:
        found = response.json()
    except json.JSONDecodeError:
        return response.text
    return json.dumps({key: value for key, value in found.items() if key not in {"question", "receipt"}})


async def test_the_same_ids_are_worth_something_to_their_own_caller(gateways: Gateways, victim: dict[str, str]) -> None:
    """The control: what the probes were refused exists."""
    async with gateways.replica(UNLIMITED) as gateway:
        own = gateways.bearer("bob", tenant=VICTIM)
        document = await gateway.client.get("/v1/documents/secret.md", headers=own)
        receipt = await gateway.client.get(f"/v1/receipts/{victim['receipt']}", headers=own)
        resumed = await gateway.client.post(
            "/v1/questions", headers={**own, "Accept": "text/event-stream", "Last-Event-ID": victim["event"]}
        )
    assert (document.status_code, receipt.status_code, resumed.status_code) == (200, 200, 200)
    assert "the secret is xylophone" in resumed.text


async def test_a_foreign_id_answers_as_a_missing_one(
    gateways: Gateways, gateway: Gateway, victim: dict[str, str]
) -> None:
    async def found(path: str, **headers: str) -> tuple[int, str]:
        response = await gateway.client.get(path, headers={**gateways.bearer(), **headers})
        return response.status_code, response.text

    assert await found("/v1/documents/secret.md") == await found("/v1/documents/missing.md")
    assert await found(f"/v1/receipts/{victim['receipt']}") == await found("/v1/receipts/missing")
    assert await found(f"/v1/questions/{victim['question']}") == await found(f"/v1/questions/{'0' * 32}")
    path = "/v1/questions/events/rest"
    assert await found(path, **{"Last-Event-ID": victim["event"]}) == await found(path, **{"Last-Event-ID": "x"})


async def test_an_answer_tells_nothing_of_scores_counts_and_offsets(gateways: Gateways) -> None:

    hit = Hit(chunk_id="c", document="d", version=1, rank=1, score=0.123456, dense=0.5, lexical=7.5)
    fields: dict[str, Any] = {"hits": (hit,), "dropped": (Dropped("forbidden", 3),), "watermark": "millrace/0:17"}
    async with gateways.replica() as gateway:
        with gateways.answering(lambda question: [completed(question, **fields)]):
            response = await gateway.client.post(
                "/v1/questions", json={"question": "?", "explain": True}, headers=gateways.bearer()
            )
            again = await gateway.client.post(
                "/v1/questions",
                json={"question": "?", "watermark": response.json()["watermark"]},
                headers=gateways.bearer(),
            )
    assert response.json()["hits"] == [{"document": "d", "version": 1, "chunk_id": "c", "rank": 1}]
    for hidden in ("0.123456", "forbidden", "millrace/0", "dropped"):
        assert hidden not in response.text
    assert again.status_code == 200
