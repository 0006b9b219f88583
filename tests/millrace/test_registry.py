"""The registry client says what is wrong: nobody there, not allowed, no registry, an error of its own."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from millrace.errors import ConfigurationError, Unavailable
from millrace.registry import Refused, Registry, RegistryAccess, subject_of, text_of
from millrace.topics import REPLY, SOURCE_CHANGED
from tests.millrace.http_server import Answer, HttpServer, http_server

NOT_FOUND = (404, b'{"error_code": 40403, "message": "no such schema"}')
SCHEMA = {"type": "record", "name": "A", "fields": []}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server(lambda method, path: NOT_FOUND) as found:
        yield found


def client(server: HttpServer, **options: object) -> Registry:
    return Registry(RegistryAccess(url=server.url, **options))  # type: ignore[arg-type]


def test_nobody_there_is_unavailable_and_names_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port} does not answer \(.*refused.*infra status"):
        Registry(RegistryAccess(url=f"http://127.0.0.1:{port}")).schema(1)


def test_one_that_takes_a_connection_and_says_nothing_is_unavailable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = Registry(RegistryAccess(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2))
        started = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer"):
            registry.schema(1)
        assert time.monotonic() - started < 2


def test_after_it_did_not_answer_nothing_is_sent_for_a_second(server: HttpServer) -> None:
    server.answer = lambda method, path: (503, b"overloaded")
    registry = client(server)
    for _ in range(5):
        with pytest.raises(Unavailable):
            registry.schema(1)
    assert len(server.asked) == 1
    server.answer = lambda method, path: NOT_FOUND
    ends = time.monotonic() + 10
    while len(server.asked) < 2 and time.monotonic() < ends:
        try:
            assert registry.schema(1) is None
        except Unavailable:
            continue
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_one_that_lets_nobody_in_names_the_settings(server: HttpServer, status: int) -> None:
    server.answer = lambda method, path: (status, b"")
    with pytest.raises(Refused, match=r"does not allow GET /schemas/ids/1 .*registry\.token") as caught:
        client(server, username="someone", password="hunter2").schema(1)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (404, b"<html>"),
        (404, b"{}"),
        (200, b"[]"),
        (200, b'{"schema": "{"}'),
        (200, b'{"schema": 7}'),
    ],
)
def test_what_is_no_registry_is_named_as_such(server: HttpServer, answer: Answer) -> None:
    server.answer = lambda method, path: answer
    with pytest.raises(ConfigurationError, match="no schema registry in Confluent's protocol"):
        client(server).schema(1)


def test_credentials_do_not_follow_a_redirect(server: HttpServer) -> None:
    with http_server(lambda method, path: (200, b"{}")) as elsewhere:
        server.answer = lambda method, path: (302, elsewhere.url.encode())
        with pytest.raises(ConfigurationError):
            client(server, token="secret").schema(1)
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({"token": "abc", "username": "u"}, "Bearer abc"),
        ({}, None),
    ],
)
def test_credentials_are_sent_and_never_shown(server: HttpServer, options: dict[str, str], header: str | None) -> None:
    registry = client(server, **options)
    assert registry.schema(1) is None
    assert server.asked[0][2].get("Authorization") == header
    assert repr(registry.access) == f"RegistryAccess({server.url})"


def test_schemas_and_ids_are_read_as_confluent_writes_them(server: HttpServer) -> None:
    server.answer = lambda method, path: (200, json.dumps({"schema": text_of(SCHEMA), "id": 7}).encode())
    registry = client(server)
    assert registry.schema(7) == SCHEMA
    assert registry.lookup("a/b-value", SCHEMA) == 7
    method, path, _, body = server.asked[1]
    assert (method, path, json.loads(body)) == ("POST", "/subjects/a%2Fb-value", {"schema": text_of(SCHEMA)})


def test_a_schema_that_is_no_record_is_none_of_ours(server: HttpServer) -> None:
    server.answer = lambda method, path: (200, b'{"schema": "\\"string\\""}')
    assert client(server).schema(1) is None


def test_an_id_that_no_registry_gives_is_unknown_without_asking(server: HttpServer) -> None:
    assert client(server).schema(2**32 - 1) is None
    assert server.asked == []


@pytest.mark.parametrize("code", [400, 404, 40403, 42201])
def test_an_id_that_the_registry_objects_to_is_unknown_and_not_tried_for_ever(server: HttpServer, code: int) -> None:
    server.answer = lambda method, path: (400, json.dumps({"error_code": code, "message": "no"}).encode())
    assert client(server).schema(1) is None


@pytest.mark.parametrize("url", ["registry:8081", "file:///etc/passwd", "http://", ""])
def test_a_url_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"registry\.url"):
        Registry(RegistryAccess(url=url))


def test_a_topic_of_one_event_has_one_subject_and_others_one_for_each() -> None:
    assert subject_of(SOURCE_CHANGED, SOURCE_CHANGED.events[0]) == "corpus.source.changed.v1-value"
    assert len({subject_of(REPLY, event) for event in REPLY.events}) == len(REPLY.events)
