"""Apicurio Registry keeps what it acknowledged, over a restart and a kill."""

import pytest

from infra.registry import register
from millrace.events.corpus import SourceChanged
from millrace.registry import text_of
from millrace.schema import avro_schema
from millrace.schema_lock import released
from millrace.topics import ANSWER_PRODUCED, SOURCE_CHANGED
from tests.registries import StartRegistry, registry_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_ids_and_address_stay_over_a_restart_and_a_kill(start_registry: StartRegistry) -> None:
    server = start_registry()
    url, topics = server.url, [ANSWER_PRODUCED, SOURCE_CHANGED]
    first = register(registry_at(url), topics, [released()])
    assert len(first.added) == len(set(first.ids.values())) == 3
    schema = avro_schema(SourceChanged)
    last = registry_at(url).request("POST", "/subjects/last/versions", {"schema": text_of(schema)})["id"]
    server.kill()  # at once after the answer
    server.start()
    assert server.url == url
    assert registry_at(url).lookup("last", schema) == last
    again = register(registry_at(url), topics, [released()])
    assert (again.ids, again.added) == (first.ids, ())
    server.stop()
    elsewhere = start_registry()  # another object, the same folder
    assert register(registry_at(elsewhere.url), topics, [released()]).ids == first.ids
