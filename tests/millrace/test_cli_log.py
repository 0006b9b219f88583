"""Laws about looking at the log and writing to it from the command line."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from confluent_kafka import Producer

from millrace.connection import Connection
from millrace.event import Event
from millrace.events.query import AnswerProduced, Citation, ContextRetrieved, Hit, QueryReceived
from millrace.keys import document_key, partition_for
from millrace.lineage import question_trace
from millrace.sync_client import Client
from millrace.topics import SOURCE_CHANGED
from tests.millrace.workers import Run, answering, completed, derived_meta, indexing


def produce(connection: Connection, topic: str, partition: int, value: bytes | None, key: str, **headers: str) -> str:
    """Write raw bytes; gives the record's position."""
    landed: list[str] = []
    producer = Producer(connection.librdkafka_producer())
    producer.produce(
        topic,
        value,
        key,
        partition,
        headers=[(name.replace("_", "-"), text.encode()) for name, text in headers.items()],
        on_delivery=lambda _error, message: landed.append(f"{topic}/{message.partition()}/{message.offset()}"),
    )
    assert producer.flush(20) == 0
    return landed[0]


def test_events_are_produced_and_tailed(run: Run, tenant: str) -> None:
    event = {
        "tenant": tenant,
        "document": "Z\u00fcrich \u6771 \U0001f389 \x9b\x1b[2J.md",
        "version": 1,
        "groups": ["x"],
    }
    code, out, err = run("produce", "acl.changed", "--data", json.dumps(event), "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["produced"]
    code, out, _ = run("tail", "corpus.acl.changed.v1", "--from", "beginning", "--json")
    (record,) = [r for r in json.loads(out)["records"] if r.get("event", {}).get("tenant") == tenant]
    assert (record["event"], record["type"]) == (event, "AclChanged")
    assert f"{record['topic']}/{record['partition']}/{record['offset']}" == row["position"]
    code, out, _ = run("tail", "acl.changed", "-n", "100000")
    assert (code, "\x1b" in out, tenant in out) == (0, False, True)
    code, out, _ = run("tail", "acl.changed", "-n", "100000", "--lines")
    assert [json.loads(line)["event"] for line in out.splitlines() if tenant in line] == [event]


def test_lines_come_from_standard_input_and_all_are_checked_before_any_is_sent(
    run: Run, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = json.dumps({"tenant": tenant, "document": "a.md", "version": 1, "groups": []})
    for bad, why in (
        ("{", "line 2 is no JSON object"),
        ('{"document": ' + "[" * 20_000, "line 2 is no JSON object"),
        ('{"tenant": "x", "colour": 1}', "no field 'colour'"),
        ('{"tenant": "x", "document": "y", "version": "1", "groups": []}', "line 2 is no AclChanged"),
    ):
        monkeypatch.setattr("sys.stdin", StringIO(f"{good}\n{bad}\n"))
        code, out, err = run("produce", "acl.changed")
        assert (code, out) == (2, ""), bad
        assert why in err
    monkeypatch.setattr("sys.stdin", StringIO(f"{good}\n\n{good}\n"))
    code, out, _ = run("produce", "acl.changed", "--json")
    assert (code, len(json.loads(out)["produced"])) == (0, 2)
    _, out, _ = run("tail", "acl.changed", "--from", "beginning", "--json")
    assert len([r for r in json.loads(out)["records"] if r.get("event", {}).get("tenant") == tenant]) == 2


def test_a_topic_of_several_types_needs_to_be_told_which(run: Run, tenant: str) -> None:
    frame = {"tenant": tenant, "correlation": "c", "text": "t"}
    assert run("produce", "query.reply.v1", "--data", json.dumps(frame))[0] == 2
    assert run("produce", "query.reply.v1", "--data", json.dumps(frame | {"type": "AnswerDelta"}))[0] == 0


def test_topics_are_listed_with_what_is_in_them(run: Run, embedded: Connection, tenant: str) -> None:
    produce(embedded, SOURCE_CHANGED.dead_letters, 0, b"x", "k", mr_error_type="poison")
    code, out, _ = run("topics", "--json")
    found = json.loads(out)
    rows = {row["topic"]: row for row in found["topics"]}
    assert code == 0
    assert rows["corpus.source.changed.v1"]["partitions"] == 4
    assert rows["query.reply.v1"]["events"].startswith("AnswerDelta")
    assert found["dead_letters"][SOURCE_CHANGED.dead_letters] >= 1
    assert "see `millrace dlq list`" in run("topics")[1]


def test_a_part_of_a_topics_name_must_mean_one_topic(run: Run) -> None:
    for name in ("changed", "nothing"):
        code, _, err = run("tail", name)
        assert (code, "corpus.source.changed.v1" in err) == (2, True)


def test_a_dead_letter_is_listed_shown_and_put_back_once(run: Run, embedded: Connection, tenant: str) -> None:
    key = document_key(tenant, "a.md")
    partition = partition_for(key, 4)
    letter = produce(
        embedded,
        SOURCE_CHANGED.dead_letters,
        partition,
        b"\xff poison",
        key,
        ce_id="event-1",
        mr_error_type="undecodable",
        mr_error_stage="featurize",
        mr_error_message="broken\x1b[31m",
    )
    _, out, _ = run("dlq", "list", "source.changed", "--json")
    (row,) = [row for row in json.loads(out)["letters"] if row["letter"] == letter]
    assert (row["type"], row["stage"], row["source"]) == ("undecodable", "featurize", SOURCE_CHANGED.name)
    code, out, _ = run("dlq", "show", letter)
    assert (code, "unreadable: not an Avro record" in out, "\x1b" in out) == (0, True, False)
    code, out, _ = run("dlq", "replay", letter, "--json")
    (back,) = json.loads(out)["replayed"]
    assert (code, back["letter"], back["new_identity"]) == (0, letter, False)
    _, out, _ = run("tail", SOURCE_CHANGED.name, "--from", "beginning", "--json")
    (record,) = [r for r in json.loads(out)["records"] if r["headers"].get("mr-replayed-from") == letter]
    assert f"{record['topic']}/{record['partition']}/{record['offset']}" == back["position"]
    assert (record["partition"], record["key"]) == (partition, key)
    assert set(record["headers"]) == {"ce-id", "mr-replayed-from"}
    _, out, _ = run("dlq", "list", "source.changed", "--json")
    assert letter not in {row["letter"] for row in json.loads(out)["letters"]}
    _, out, _ = run("dlq", "list", "source.changed", "--all", "--json")
    assert letter in {row["letter"] for row in json.loads(out)["letters"]}


@pytest.mark.parametrize(
    "arguments",
    [("replay",), ("replay", "x", "--topic", "y"), ("show", "x"), ("show", "corpus.acl.changed.v1.dlq/0/99")],
)
def test_a_letter_that_is_not_there_is_a_wrong_use(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("dlq", *arguments)[0] in {1, 2}


def test_a_question_is_traced_from_its_answer_to_the_source(run: Run, embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        hit = Hit("chunk-1", "a.md", 1, 1, 0.9, 0.8, 0.7)
        context = ContextRetrieved(
            tenant=tenant, conversation=question.conversation, question=question.question, hits=(hit,), watermark="w1"
        )
        context = context.with_meta(derived_meta(question, context))
        answer = AnswerProduced(
            tenant=tenant,
            conversation=question.conversation,
            correlation=question.meta.correlation_id,
            status="answered",
            citations=(Citation("a.md", 1, "chunk-1", "A", "Heading", 0, 4, "text"),),
        )
        answer = answer.with_meta(derived_meta(context, answer))
        return [context, context, answer, completed(question)]

    with answering(embedded, tenant, behaviour), indexing(embedded, tenant), Client(embedded, tenant=tenant) as client:
        receipt = client.put_document("a.md", "text", groups=["*"], source="docs")
        client.wait(receipt, 20)
        asked = client.ask("what is in a?", after=receipt)
    code, out, _ = run("trace", asked.trace_id, "--json")
    found = json.loads(out)
    assert (code, found["correlation_id"]) == (0, asked.correlation_id)
    assert [event["type"] for event in found["events"]] == [
        "QueryReceived",
        "ContextRetrieved",
        "AnswerProduced",
        "AnswerCompleted",
    ]
    (source,) = found["sources"]
    assert (source["chunk_id"], source["document"], source["version"]) == ("chunk-1", "a.md", 1)
    assert source["source_position"].startswith("corpus.source.changed.v1/")
    code, out, _ = run("trace", asked.correlation_id)
    assert (code, "└ AnswerProduced" in out, "read from" in out) == (0, True, True)
    code, out, _ = run("trace", "a.md", "--tenant", tenant)
    assert (code, "DocumentIndexed" in out) == (0, True)
    nobodys = secrets.token_hex(16)
    assert question_trace(embedded, nobodys).entries == ()
    assert run("trace", nobodys)[0] == 1


def test_the_doctor_names_what_is_wrong_and_what_to_do(run: Run, embedded: Connection, tmp_path: Path) -> None:
    code, out, _ = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert {
        name: checks[name]["state"] for name in ("python", "packages", "schemas", "connection", "broker")
    } == dict.fromkeys(("python", "packages", "schemas", "connection", "broker"), "ok")
    assert (checks["topics"]["state"], checks["objects"]["state"]) == ("ok", "ok")
    assert checks["consumer groups"]["state"] == "skipped", checks
    assert (code, checks["workers"]["state"]) == (0, "skipped")
    (tmp_path / "objects-file").write_text("")
    code, out, _ = run("--objects", str(tmp_path / "objects-file"), "--bootstrap", "127.0.0.1:1", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert (code, checks["objects"]["state"], checks["broker"]["state"]) == (1, "wrong", "wrong")


class Health(BaseHTTPRequestHandler):
    """A worker's health port that says whatever `says` holds."""

    says: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        body = json.dumps(self.says[self.path]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def health() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_doctor_sees_workers_that_are_gone_stuck_or_not_ready(
    run: Run, embedded: Connection, tmp_path: Path, health: ThreadingHTTPServer
) -> None:
    home = tmp_path / ".millrace"
    (home / "run").mkdir(parents=True)
    processes = [("worker-0", os.getpid()), ("worker-1", 2**22 + 1), ("broker", 2**22 + 1)]
    stack: dict[str, Any] = {
        "format": 1,
        "bootstrap": embedded.bootstrap,
        "profile": "embedded",
        "home": str(home),
        "processes": [{"name": name, "pid": pid} for name, pid in processes],
        "partitions": {"corpus.acl.changed.v1": 8},
    }
    (home / "stack.json").write_text(json.dumps(stack))

    def worker_0() -> tuple[str, str]:
        _, out, _ = run("--home", str(home), "doctor", "--json")
        checks.update({check["name"]: check for check in json.loads(out)["checks"]})
        return checks["worker worker-0"]["state"], checks["worker worker-0"]["detail"]

    def report(**fields: Any) -> None:
        written = {"pid": os.getpid(), "state": "ready", "detail": "2 agents"} | fields
        (home / "run" / "worker-0.json").write_text(json.dumps(written))

    checks: dict[str, Any] = {}
    assert worker_0() == ("wrong", "starting, it has reported nothing yet")
    assert "gone" in checks["worker worker-1"]["detail"]
    assert checks["broker process"]["state"] == "wrong"
    assert "corpus.acl.changed.v1 has 4 partitions instead of 8" in checks["topics"]["detail"]
    report(pid=1)
    assert worker_0()[0] == "wrong"
    report(health_port=1)
    assert "stuck, its health port 1 does not answer" in worker_0()[1]
    report(health_port=health.server_port)
    Health.says = {"/ready": {"ready": True}, "/alive": {"alive": True}, "/numbers": {"featurize": {"lag": 7}}}
    assert worker_0() == ("ok", "ready, 2 agents; records behind: featurize 7")
    Health.says = Health.says | {"/alive": {"alive": False}}
    assert worker_0()[0] == "wrong"
