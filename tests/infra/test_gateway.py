"""Laws about the gateway as a process: it starts with the workers, ends in order, and lets nobody in unknown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from infra.gateway import check_open, gateway_settings, interfaces, listening_of
from infra.gateway_secrets import keys, seal_secret
from infra.launch.gateways import gateway_url
from infra.launch.stack import read_stack
from infra.launch.status import read_status
from infra.settings import load
from millrace.errors import ConfigurationError
from tests.gateway.stocked import StockedLibrary, stocked
from tests.system.stacks import System, embedded_system

PEOPLE = [{"name": "ada", "tenant": "acme", "groups": ["staff"]}, {"name": "eve", "tenant": "umbrella"}]
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A worker and two replicas."""
    home = tmp_path_factory.mktemp("gateway") / "home"
    options: dict[str, Any] = {"gateway": {"count": 2, "people": PEOPLE, "drain_timeout_ms": 500}}
    with embedded_system(home, workers=1, **options) as found:
        yield found


def urls(system: System) -> list[str]:
    stack = read_stack(system.settings.home)
    assert stack is not None
    return [gateway_url(system.settings, stack.ports[record.name]["http"]) for record in stack.gateways]


def as_person(name: str) -> dict[str, str]:
    return {"X-Demo-Person": name}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_is_written_at_one_replica_is_answered_at_another(system: System) -> None:
    one, other = urls(system)
    with httpx.Client(timeout=60) as client:
        put = client.put(
            f"{one}/v1/documents/travel.md?groups=staff",
            content="# Travel\n\nThe hotel limit is 180 EUR.",
            headers={**as_person("ada"), "Content-Type": "text/markdown"},
        )
        assert put.status_code == 202, put.text
        receipt = put.json()["receipt"]
        outcome = client.get(f"{other}/v1/receipts/{receipt}?wait=30", headers=as_person("ada"))
        assert outcome.json()["outcome"] == "indexed", outcome.text
        answer = client.post(
            f"{other}/v1/questions",
            json={"question": "What is the hotel limit?", "after": [receipt]},
            headers=as_person("ada"),
        )
        assert answer.status_code == 200, answer.text
        assert "180 EUR" in answer.json()["text"]
        found = client.get(f"{one}/v1/documents/travel.md", headers=as_person("ada"))
        assert found.json()["groups"] == ["staff"]
        assert client.get(f"{one}/v1/documents/travel.md", headers=as_person("eve")).status_code == 404
        assert client.get(f"{one}/v1/receipts/{receipt}", headers=as_person("eve")).status_code == 404


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_status_names_replicas_with_their_addresses(system: System) -> None:
    found = {process.name: process for process in read_status(system.settings).processes}
    assert [found[f"gateway-{n}"].state for n in (1, 2)] == ["ready", "ready"]
    assert [found[f"gateway-{n}"].detail for n in (1, 2)] == urls(system)
    for url in urls(system):
        assert httpx.get(f"{url}/health/ready").json() == {"state": "ready"}


def settings(home: Path, **gateway: Any) -> Any:
    return load({"home": home, "gateway": gateway}, home / "none").settings


@pytest.mark.timeout(180)
async def test_every_interface_hides_personal_data_in_texts_of_documents(tmp_path: Path) -> None:
    library = StockedLibrary({"acme": {"a.md": "The card 4111 1111 1111 1111 paid for it."}})
    shop = stocked(*interfaces(settings(tmp_path)), library=library)
    async with shop.client() as client:
        found = [
            await client.get("/corpus/document", params={"id": "a.md"}),
            await client.post("/graphql", json={"query": '{document(id: "a.md") {source {text}}}'}),
        ]
    for response in found:
        assert "paid for it" in response.text
        assert "4111" not in response.text


def test_it_does_not_listen_for_others_whom_it_could_not_know(tmp_path: Path) -> None:
    open_to_all = settings(tmp_path, host="0.0.0.0")  # noqa: S104 - what is refused
    with pytest.raises(ConfigurationError, match="nobody could log in"):
        check_open(open_to_all)
    check_open(settings(tmp_path))
    tokens = {"jwks": "https://issuer.example/keys", "issuer": "https://issuer.example", "audience": "millrace"}
    check_open(settings(tmp_path, host="0.0.0.0", tokens=tokens))  # noqa: S104
    assert RUNNER.invoke(keys, ["new", "crawler", "--home", str(tmp_path)]).exit_code == 0
    check_open(open_to_all)


def test_people_of_a_demo_stay_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not loopback"):
        settings(tmp_path, host="0.0.0.0", people=PEOPLE)  # noqa: S104
    with pytest.raises(ConfigurationError, match="proxies"):
        settings(tmp_path, proxies=("127.0.0.1",), people=PEOPLE)
    assert len(settings(tmp_path, people=PEOPLE).gateway.people) == 2


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        ({"jwks": "keys.json"}, "issuer"),
        ({"jwks": "http://issuer.example/keys", "issuer": "i", "audience": "a"}, "https"),
        ({"jwks": "keys.json", "issuer": "i", "audience": "a", "algorithms": ["none"]}, "algorithms"),
        ({"jwks": "keys.json", "issuer": "i", "audience": "a", "algorithms": ["HS256"]}, "algorithms"),
    ],
)
def test_tokens_that_would_prove_nothing_are_refused(tmp_path: Path, tokens: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        settings(tmp_path, tokens=tokens)


def test_a_key_is_shown_once_and_listed_without_it(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path), "--json"]
    made = json.loads(RUNNER.invoke(keys, ["new", "crawler", "--tenant", "acme", "--scope", "write", *home]).stdout)
    assert made["key"].startswith("mr_")
    listed = RUNNER.invoke(keys, ["list", *home]).stdout
    assert made["key"] not in listed
    (kept,) = json.loads(listed)["keys"]
    assert (kept["id"], kept["tenant"], kept["scopes"]) == (made["id"], "acme", ["write"])
    assert "digest" not in kept
    path = tmp_path / "gateway-keys.json"
    assert path.stat().st_mode & 0o077 == 0
    assert made["key"] not in path.read_text()
    assert RUNNER.invoke(keys, ["revoke", made["id"], *home]).exit_code == 0
    assert json.loads(RUNNER.invoke(keys, ["list", *home]).stdout) == {"keys": []}
    assert RUNNER.invoke(keys, ["revoke", made["id"], *home]).exit_code == 2
    assert RUNNER.invoke(keys, ["new", "crawler", "--scope", "root", *home]).exit_code == 2


def test_replicas_share_one_secret_and_share_out_what_a_tenant_may(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        count=3,
        port=8080,
        limits={"requests_per_minute": 100, "documents_per_minute": 2, "tokens_per_minute": 0},
    )
    assert seal_secret(found) == seal_secret(found)
    assert len(seal_secret(found)) >= 32
    assert (tmp_path / "gateway-secret").stat().st_mode & 0o077 == 0
    limits = gateway_settings(found).limits
    assert (limits.requests_per_minute, limits.documents_per_minute, limits.tokens_per_minute) == (33, 1, 0)
    assert [listening_of(found, f"gateway-{n}").port for n in (1, 2, 3)] == [8080, 8081, 8082]
    with pytest.raises(ConfigurationError, match="shorter"):
        seal_secret(settings(tmp_path, secret="short"))
