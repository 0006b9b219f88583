"""Laws about `millrace report`: from records on a log to what is printed and written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from millrace.analytics import masking
from millrace.analytics.questions import WEEK_US
from millrace.client.producing import topic_of
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.query import AnswerProduced, ContextRetrieved, QueryReceived
from millrace.events.usage import UsageMetered
from millrace.ids import derived
from millrace.reports import page
from tests.builders import with_meta
from tests.millrace.analytics.traffic import SUBJECTS, directions, near
from tests.millrace.workers import Run

Ask = Callable[..., None]
ADDRESS = "jane.smithson@example.org"


@pytest.fixture
def ask(embedded: Connection, tenant: str) -> Iterator[Ask]:
    """Write all records of questions about a subject, twice each, as a redelivery does."""
    producer = Producer(embedded.librdkafka_producer())
    codec = Codec()

    def write(event: Event) -> None:
        for _ in range(2):
            record = codec.record(topic_of(event), event)
            producer.produce(record.topic, record.value, record.key, headers=list(record.headers))

    def questions(subject: str, n: int, *, status: str = "answered", weeks_ago: int = 0, mode: str = "answer") -> None:
        at_us = int(time.time() * 1e6) - weeks_ago * WEEK_US - 60_000_000
        vectors = near(directions(len(SUBJECTS))[list(SUBJECTS).index(subject)], n, seed=weeks_ago)
        for i in range(n):
            text = f"{SUBJECTS[subject].format('Oslo')} {ADDRESS}"
            own: dict[str, Any] = {"tenant": tenant, "conversation": f"c-{subject}-{i}"}
            received = QueryReceived(**own, question=text, user=f"user-{i}", mode=mode)  # type: ignore[arg-type]
            name = derived(tenant, subject, str(weeks_ago), str(i), mode)
            received = with_meta(received, id=name, correlation_id=name, time_us=at_us + i)
            vector = vectors[i].astype("<f4").tobytes()
            context = ContextRetrieved(**own, question=text, vector=vector, model="m", mode=mode)  # type: ignore[arg-type]
            about: dict[str, Any] = {**own, "correlation": name}
            answer = AnswerProduced(**about, status=status, timings_ms={"read": 20.0})  # type: ignore[arg-type]
            answer = with_meta(answer, cause=received)
            used = UsageMetered(tenant=tenant, answer=answer.meta.id, status=status, n_tokens_in=10, cost_usd=0.01)
            liked = FeedbackGiven(**about, kind="up")
            for event in (received, answer, *(with_meta(each, cause=received) for each in (context, used, liked))):
                write(event)
        assert producer.flush(20) == 0

    yield questions
    producer.flush(5)


def test_a_report_says_what_is_asked_what_is_not_answered_and_what_it_costs(
    run: Run, ask: Ask, tenant: str, tmp_path: Path
) -> None:
    ask("leave", 8, weeks_ago=1)
    ask("leave", 6)
    ask("badge", 7, status="not_found")
    ask("travel", 3)
    ask("travel", 4, mode="search")
    html, saved = tmp_path / "out" / "report.html", tmp_path / "report.json"
    code, out, err = run(
        "report", "--tenant", tenant, "--weeks", "2", "--html", str(html), "--save", str(saved), "--json"
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found == json.loads(saved.read_bytes())
    (mine,) = found["tenants"]
    assert (mine["tenant"], mine["n"], found["n_searches"]) == (tenant, 24, 4)
    assert [(topic["n"], topic["by_week"]) for topic in mine["topics"]] == [(14, [8, 6]), (7, [0, 7])]
    assert mine["unanswered"][0]["n"] == 7
    assert "badge" in mine["unanswered"][0]["name"]
    assert (mine["other"]["n"], mine["n_few"]) == (3, 1)
    week = mine["usage"][1]
    assert (week["n"], week["n_tokens"], week["n_feedback"], week["liked"]) == (16, 160, 16, 1.0)
    for text in (out, html.read_text(), saved.read_text()):
        assert ADDRESS not in text
        assert "smithson" not in text
    code, out, err = run("report", "--tenant", tenant, "--weeks", "2", "--before", str(saved))
    assert (code, err) == (0, "")
    assert mine["topics"][0]["name"] in out
    assert "what the corpus does not answer" in out
    assert "[EMAIL_ADDRESS]" in out


def test_without_the_stack_examples_are_left_out_unless_they_are_asked_for(
    run: Run, ask: Ask, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("leave", 6)
    monkeypatch.setattr(masking, "find_spec", lambda _: None)
    code, out, err = run("report", "--tenant", tenant)
    assert (code, ADDRESS in out) == (0, False)
    assert "examples are left out" in err
    code, out, err = run("report", "--tenant", tenant, "--examples")
    assert (code, ADDRESS in out) == (0, True)
    assert "what the guards did not find" in err


def test_a_tenant_that_asked_nothing_has_an_empty_report(run: Run, tenant: str, tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    code, out, err = run("report", "--tenant", tenant, "--html", str(html), "--json")
    assert (code, json.loads(out)["tenants"]) == (0, [])
    assert "nothing was asked" in err
    assert "Nothing was asked" in html.read_text()


def test_usage_is_checked_before_the_log_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("report", "--from", "1h", "--to", "2h")[0] == 2
    assert run("report", "--from", "beginning")[0] == 2
    assert run("report", "--before", "missing.json")[0] == 1
    monkeypatch.setattr(page, "find_spec", lambda _: None)
    code, _, err = run("report")
    assert code == 1
    assert "pip install 'millrace[report]'" in err
