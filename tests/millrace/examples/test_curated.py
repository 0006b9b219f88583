"""Laws about the examples that count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import ConfigurationError, ContractError, ObjectTampered
from millrace.event import Event
from millrace.events.corpus import AclChanged
from millrace.events.learn import ExampleCurated
from millrace.examples.content import decode
from millrace.examples.curated import Curation, gone, load, object_folder
from millrace.keys import document_key
from millrace.objects import ObjectFolder, object_path
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from millrace.withdrawal import withdrawn as withheld
from streams.embedded_broker import EmbeddedBroker
from tests.millrace.examples.curated_examples import content, curated, withdrawn


def counting(*events: Event) -> list[str]:
    found = Curation()
    for event in events:
        found.fold(event)
    return list(found.examples)


ONE = curated(content("How long?"))
OTHER = curated(content("How long?", "Eighteen weeks."), replaces=ONE.example)


def test_an_example_that_was_replaced_counts_no_more_even_if_its_record_comes_again() -> None:
    assert counting(ONE) == [ONE.example]
    assert counting(ONE, OTHER) == [OTHER.example]
    assert counting(ONE, OTHER, ONE) == [OTHER.example]


def test_of_one_id_the_last_record_counts() -> None:
    found = Curation()
    found.fold(ONE)
    found.fold(curated(content("How long?"), split="train"))
    assert [each.split for each in found.examples.values()] == ["train"]


def test_of_one_proposal_the_first_outcome_counts_whatever_is_said_of_it_later() -> None:
    def outcome(event: Event, name: str) -> Event:
        meta = msgspec.structs.replace(event.meta, id=name, causation_id="proposal")
        return event.with_meta(meta)

    assert counting(outcome(withdrawn(ONE, reason="user_cap"), "first"), outcome(ONE, "later")) == []
    assert counting(outcome(ONE, "first"), outcome(withdrawn(ONE), "later")) == [ONE.example]


def test_only_the_answer_that_an_example_came_from_withdraws_it_and_no_other_rejection_does() -> None:
    assert counting(ONE, withdrawn(ONE)) == []
    assert counting(ONE, withdrawn(ONE, correlation="another")) == [ONE.example]
    assert counting(ONE, withdrawn(ONE, reason="duplicate")) == [ONE.example]


def test_a_correction_that_was_rejected_withdraws_what_was_approved_of_its_answer_alone() -> None:
    said = curated(content("How long?", "Ten weeks."), source="approved", correlation="a")
    for reason in ("user_cap", "injection", "personal_data", "near_duplicate", "unbalanced"):
        rejection = withdrawn(ONE, correlation="a", source="correction", reason=reason)
        assert counting(said, rejection) == []
        assert counting(said, rejection.replace(correlation="another")) == [said.example]
        assert counting(said, rejection.replace(source="approved")) == [said.example]
    corrected = curated(content("How long?", "Ten weeks."), correlation="a")
    assert counting(corrected, withdrawn(corrected, reason="user_cap", source="correction")) == [corrected.example]


def test_of_a_question_the_newest_correction_counts_else_the_newest_approved_answer() -> None:
    def taken(target: str, source: str, question: str = "digest") -> ExampleCurated:
        return curated(content("How long?", target), source=source, question=question)

    a, b = taken("Ten weeks.", "approved"), taken("Eleven weeks.", "approved")
    c, d = taken("Twelve weeks.", "correction"), taken("Thirteen weeks.", "correction")
    assert counting(a, b) == [b.example]
    assert counting(a, c) == counting(c, a) == counting(a, c, b) == [c.example]
    assert counting(c, d) == [d.example]
    assert counting(c, d, c) == [d.example]
    elsewhere, earlier = taken("Ten weeks!", "approved", "another"), taken("Ten weeks?", "approved", "")
    assert counting(c, elsewhere, earlier) == [c.example, elsewhere.example, earlier.example]


def test_texts_that_were_erased_are_missing_and_changed_ones_are_refused(tmp_path: Path) -> None:
    objects = ObjectFolder(tmp_path)
    objects.put_sync(content("How long?").encode())
    assert [found for _, found in load([ONE, OTHER], objects)] == [content("How long?"), None]
    (tmp_path / object_path(ONE.ref)).write_bytes(b"{}")
    with pytest.raises(ObjectTampered):
        list(load([ONE], objects))
    with pytest.raises(ContractError, match="no example"):
        decode(ONE.ref, b"[]")


def test_without_an_object_folder_it_is_said_how_to_name_one() -> None:
    with pytest.raises(ConfigurationError, match="MILLRACE_OBJECTS"):
        object_folder(Connection(bootstrap="localhost:1"))


def test_a_record_that_breaks_the_contract_withdraws_nothing(
    start_embedded: Callable[[], EmbeddedBroker], tmp_path: Path
) -> None:
    broker = start_embedded()
    connection = Connection(bootstrap=broker.bootstrap, profile="embedded", objects=str(tmp_path))
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for topic in (ACL_CHANGED, DOCUMENT_INDEXED):
        broker.create_topic(topic.name, 4)
        producer.produce(topic.name, b"no event", key=document_key("acme", "a.md").encode())
    assert producer.flush(10) == 0
    asyncio.run(_produced(connection, AclChanged(tenant="acme", document="b.md", version=1, groups=withheld(["*"]))))
    assert gone(connection, "acme", {"a.md", "b.md"}) == {"b.md"}


async def _produced(connection: Connection, event: Event) -> None:
    async with Millrace(connection) as client:
        await client.produce(event)
