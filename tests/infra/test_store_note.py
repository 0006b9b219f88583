"""Rows are looked for where the log's documents were indexed, or nothing is started."""

from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka import Producer

from millrace.errors import ConfigurationError
from millrace.topics import DOCUMENT_INDEXED
from tests.infra.launcher import Launcher

WEAVIATE: dict[str, Any] = {"stores": {"kind": "weaviate"}}
OTHERS: tuple[dict[str, Any], ...] = (WEAVIATE, {"stores": {"vectors": "elsewhere"}})


def start(launcher: Launcher, flags: dict[str, Any]) -> None:
    launcher.up(flags=flags, parts=())


def index_something(launcher: Launcher) -> None:
    producer = Producer({"bootstrap.servers": launcher.connection().bootstrap})
    producer.produce(DOCUMENT_INDEXED.name, b"a version of a document", b"key")
    assert producer.flush(20) == 0


def test_another_store_than_that_of_the_log_s_documents_is_refused_with_the_remedy(launcher: Launcher) -> None:
    start(launcher, {})
    index_something(launcher)
    for other in OTHERS:
        with pytest.raises(ConfigurationError, match=r"indexed in lance, folder vectors.* stores\.kind.*--home.*anew"):
            start(launcher, other)
    start(launcher, {})
    (launcher.home / "vector-store.json").unlink()  # as the message says, after the rows were moved
    start(launcher, WEAVIATE)
    with pytest.raises(ConfigurationError, match=r"collection Millrace, and the settings name .*collection Other"):
        start(launcher, {**WEAVIATE, "weaviate": {"collection": "Other"}})


def test_as_long_as_nothing_is_indexed_any_store_may_be_chosen(launcher: Launcher) -> None:
    for chosen in ({}, *OTHERS):
        start(launcher, chosen)
    index_something(launcher)
    with pytest.raises(ConfigurationError, match=r"indexed in lance, folder .*elsewhere"):
        start(launcher, {})


def test_another_log_of_the_home_has_a_store_of_its_own(launcher: Launcher) -> None:
    start(launcher, {})
    index_something(launcher)
    path = launcher.home / "vector-store.json"
    path.write_text(json.dumps({"another log": "weaviate, collection Millrace", **json.loads(path.read_text())}))
    start(launcher, {})
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"remove it if stores\.kind"):
        start(launcher, {})
