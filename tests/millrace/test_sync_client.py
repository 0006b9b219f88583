"""Laws about the sync client: the same results, from any thread, and a clean end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from millrace.client import Answer
from millrace.connection import Connection
from millrace.errors import ConfigurationError, RequestFailed, Unavailable
from millrace.sync_client import Client
from tests.millrace.workers import answering, completed, indexing


def test_it_writes_waits_and_asks(embedded: Connection, tenant: str) -> None:
    with (
        answering(embedded, tenant, lambda question: [completed(question)]),
        indexing(embedded, tenant),
        Client(embedded, tenant=tenant) as client,
    ):
        receipt = client.put_document("a.md", "text", groups=["*"])
        assert [outcome.outcome for outcome in client.wait(receipt, 20)] == ["indexed"]
        assert client.document("a.md").groups == ("*",)
        assert client.ask("what?", after=receipt).text == "echo: what?"
        assert client.search("what?").text == "echo: what?"
        assert [type(part) for part in client.ask_stream("what?")] == [Answer]


def test_threads_share_one_client(embedded: Connection, tenant: str) -> None:
    with (
        answering(embedded, tenant, lambda question: [completed(question)]),
        Client(embedded, tenant=tenant) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        answers = list(threads.map(lambda n: client.ask(f"q{n}").text, range(16)))
    assert answers == [f"echo: q{n}" for n in range(16)]


def test_closing_leaves_no_thread_and_refuses_further_calls(embedded: Connection, tenant: str) -> None:
    client = Client(embedded, tenant=tenant)
    with client, pytest.raises(RequestFailed):
        client.ask("nobody answers", timeout_s=0.2)
    client.close()
    assert "millrace-client" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConfigurationError, match="closed"):
        client.ask("too late")


def test_a_failed_start_leaves_no_thread() -> None:
    with pytest.raises(Unavailable):
        Client(Connection(bootstrap="127.0.0.1:1")).open()
    assert "millrace-client" not in {thread.name for thread in threading.enumerate()}
