"""What becomes of a captured row: each kind of change has one defined outcome."""

import base64
from typing import Any

import pytest

from agents.corpus.featurize import featurize
from millrace.errors import InputRejected, UndecodableRecord
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled, SourceChanged
from millrace.testing import Memory
from streams.admin import plan_topics
from streams.sources.cdc import CapturePorts, Position, capture_topics
from tests.agents_in_memory import publish
from tests.fakes import Stack
from tests.streams.sources.cdc.debezium import UNAVAILABLE, Agent, RawRecord, envelope, mapping_of

ROW = {"id": 7, "title": "Trips", "body": "First class from four hours.", "readers": ["staff", "boss"]}


@pytest.mark.parametrize("op", ["r", "c", "u"])
@pytest.mark.parametrize("schemas", [False, True])
async def test_a_row_becomes_a_version_with_its_access_first(op: str, schemas: bool) -> None:
    agent = Agent(mapping_of(groups_column="readers", labels={"kind": "note"}, trust="untrusted"))
    access, changed = await agent.events(envelope(op, ROW, commit=160, lsn=208, schemas=schemas))
    assert access == AclChanged(tenant="acme", document="notes/7", version=208, groups=("boss", "staff"))
    text = "# Trips\n\nFirst class from four hours."
    assert changed == SourceChanged(
        tenant="acme", document="notes/7", source_epoch=160, version=208, source="crm.notes", op="upsert",
        media_type="text/markdown", text=text, n_bytes=len(text), labels={"kind": "note"}, trust="untrusted",
        acl_version=208,
    )  # fmt: skip


async def test_a_removed_row_is_a_deletion_whatever_is_known_of_it() -> None:
    agent = Agent(mapping_of(groups_column="readers"))
    for before in (ROW, {"id": 7, "title": None, "body": None, "readers": None}, None):
        [changed] = await agent.events(envelope("d", before=before, key={"id": 7}, commit=300, lsn=308))
        assert changed == SourceChanged(
            tenant="acme", document="notes/7", source_epoch=300, version=308, source="crm.notes", op="delete"
        )


@pytest.mark.parametrize(("value", "gone"), [(True, True), ("2026-11-20", True), (False, False), (None, False)])
async def test_a_row_that_says_it_is_deleted_is(value: Any, gone: bool) -> None:
    changed = await Agent(mapping_of(deleted="archived")).changed(envelope("u", ROW | {"archived": value}))
    assert (changed.op == "delete") is gone


@pytest.mark.parametrize("key", [b'{"id":7}', None])
async def test_a_tombstone_says_nothing_more(key: bytes | None) -> None:
    assert await Agent(mapping_of()).events(RawRecord(key, None)) == []


async def test_a_message_of_the_database_is_passed_over() -> None:
    assert await Agent(mapping_of()).events(envelope("m", key={})) == []


async def test_a_new_key_deletes_one_document_and_writes_another() -> None:
    agent = Agent(mapping_of())
    gone = await agent.changed(envelope("d", before=ROW, key={"id": 7}, lsn=400))
    new = await agent.changed(envelope("c", ROW | {"id": 8}, lsn=400))
    assert [(c.document, c.op) for c in (gone, new)] == [("notes/7", "delete"), ("notes/8", "upsert")]
    assert gone.meta.id != new.meta.id


async def test_a_truncated_table_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputRejected, match=r"public\.notes was truncated.*--sync"):
        await Agent(mapping_of()).events(RawRecord(None, envelope("t", key={}).value))


async def test_every_column_of_the_key_names_the_row() -> None:
    agent = Agent(mapping_of(key=("org", "id"), tenant_column="org"))
    changed = await agent.changed(envelope("d", key={"org": "umbrella", "id": 7}))
    assert (changed.tenant, changed.document) == ("umbrella", "notes/umbrella/7")


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"key": ("org", "id"), "tenant_column": "org"}, {"id": 7}, "has no tenant in its key: column 'org'"),
        ({"key": ("org", "id")}, {"id": 7}, "has no 'org', it has id"),
        ({}, {}, "has no primary key"),
    ],
)
async def test_a_key_that_lacks_something_is_named(table: dict[str, Any], key: dict[str, Any], message: str) -> None:
    with pytest.raises(InputRejected, match=message):
        await Agent(mapping_of(**table)).events(envelope("c", ROW, key=key))


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (["b", "a", "a"], ("a", "b")),
        ("sales, staff,,sales ", ("sales", "staff")),
        ("*", ("*",)),
        ([], ()),
        ("", ()),
        (None, ()),
    ],
)
async def test_groups_are_an_array_or_text_with_commas_and_nothing_is_nobody(
    value: Any, groups: tuple[str, ...]
) -> None:
    access = await Agent(mapping_of(groups_column="readers")).access(envelope("u", ROW | {"readers": value}))
    assert access.groups == groups


@pytest.mark.parametrize("value", [7, [7], {"a": 1}, [None]])
async def test_what_are_no_groups_is_refused(value: Any) -> None:
    with pytest.raises(InputRejected, match="groups are an array of names"):
        await Agent(mapping_of(groups_column="readers")).events(envelope("u", ROW | {"readers": value}))


async def test_groups_of_table_or_mapping_are_those_of_every_row() -> None:
    assert (await Agent(mapping_of()).access(envelope("u", ROW))).groups == ("*",)
    assert (await Agent(mapping_of(groups=("b", "a"))).access(envelope("u", ROW))).groups == ("a", "b")
    assert (await Agent(mapping_of(groups=())).access(envelope("u", ROW))).groups == ()


async def test_texts_are_joined_and_what_is_null_is_left_out() -> None:
    agent = Agent(mapping_of(content=("body", "extra", "tags")))
    row = ROW | {"title": None, "extra": None, "tags": ["a", "b"]}
    assert (await agent.changed(envelope("u", row))).text == "First class from four hours.\n\na, b"
    empty = {"id": 7, "title": None, "body": None, "extra": None, "tags": None}
    assert (await agent.changed(envelope("u", empty))).text == ""


async def test_labels_come_from_columns_and_a_null_is_no_label() -> None:
    agent = Agent(mapping_of(label_columns={"state": "state", "n": "n", "open": "open"}))
    changed = await agent.changed(envelope("u", ROW | {"state": None, "n": 3, "open": True}))
    assert changed.labels == {"n": "3", "open": "true"}


async def test_without_content_the_whole_row_is_the_text_but_not_who_may_read_it() -> None:
    agent = Agent(mapping_of(content=(), title="", deleted="archived", groups_column="readers"))
    changed = await agent.changed(envelope("u", {"id": 7, "price": "1.50", "readers": ["a"], "archived": False}))
    assert (changed.text, changed.media_type) == ('{"id": 7, "price": "1.50"}\n', "application/x-ndjson")


async def test_a_large_text_goes_by_reference() -> None:
    agent = Agent(mapping_of())
    changed = await agent.changed(envelope("c", ROW | {"title": None, "body": "é" * 100_000}))
    assert (changed.text, changed.n_bytes) == (None, 200_000)
    assert await agent.objects.get(str(changed.content)) == ("é" * 100_000).encode()


@pytest.mark.parametrize(
    "placeholder",
    [UNAVAILABLE, base64.b64encode(UNAVAILABLE.encode()).decode(), [UNAVAILABLE], {UNAVAILABLE: UNAVAILABLE}],
)
async def test_a_value_that_was_not_sent_is_taken_from_the_row_before_or_refused(placeholder: Any) -> None:
    agent = Agent(mapping_of())
    after = ROW | {"body": placeholder, "title": "New"}
    changed = await agent.changed(envelope("u", after, before=ROW))
    assert changed.text == "# New\n\nFirst class from four hours."
    with pytest.raises(InputRejected, match=r"column 'body' of public\.notes .* REPLICA IDENTITY FULL"):
        await agent.events(envelope("u", after))


async def test_a_value_that_was_not_sent_and_means_nothing_does_not_matter() -> None:
    changed = await Agent(mapping_of()).changed(envelope("u", ROW | {"attachment": UNAVAILABLE}))
    assert changed.op == "upsert"


async def test_a_revocation_counts_even_where_the_text_was_not_sent() -> None:
    agent = Agent(mapping_of(groups_column="readers"))
    record = envelope("u", ROW | {"body": UNAVAILABLE, "readers": ["boss"]}, lsn=900)
    with pytest.raises(InputRejected) as refused:
        await agent.events(record)
    told = agent.told(record, refused.value)
    assert told == [AclChanged(tenant="acme", document="notes/7", version=900, groups=("boss",))]
    unsent = envelope("u", ROW | {"body": UNAVAILABLE, "readers": UNAVAILABLE})
    assert agent.told(unsent, refused.value) == []


async def test_a_column_that_is_gone_is_named_and_a_new_one_is_no_matter() -> None:
    agent = Agent(mapping_of(label_columns={"state": "state"}))
    with pytest.raises(InputRejected, match=r"has no column 'state' any more.*it has id, title, body, readers: change"):
        await agent.events(envelope("u", ROW))
    assert (await agent.changed(envelope("u", ROW | {"state": "x", "author": "Ann"}))).labels == {"state": "x"}


@pytest.mark.parametrize(
    "record",
    [
        RawRecord(b'{"id":7}', b"\x00\x00\x00\x00\x01abc"),
        RawRecord(b'{"id":7}', b"{"),
        RawRecord(b'{"id":7}', b"[]"),
        RawRecord(b'{"id":7}', b"{}"),
        RawRecord(b'{"id":7}', b'{"payload": null}'),
        RawRecord(b"7", envelope("c", ROW).value),
        RawRecord(b"\xff", envelope("c", ROW).value),
        envelope("x", ROW),
        envelope("c", None, key={"id": 7}),
        envelope("c", ROW, connector="mysql"),
        envelope("c", ROW, sequence=None, lsn=None),
        envelope("c", ROW, sequence='["1"]'),
        envelope("c", ROW, sequence='["a","b"]'),
        envelope("c", ROW, sequence=f'["1","{1 << 56}"]'),
        envelope("c", ROW, sequence='["1","-1"]'),
    ],
)
async def test_foreign_bytes_are_refused_as_undecodable(record: RawRecord) -> None:
    with pytest.raises(UndecodableRecord):
        Agent(mapping_of()).read(record)


async def test_a_redelivered_record_gives_the_same_events_under_the_same_ids() -> None:
    agent = Agent(mapping_of())
    record = envelope("u", ROW)
    first, again = await agent.outputs(record), await agent.outputs(record)
    assert [(o.topic.name, o.event, o.event.meta.id) for o in first] == [
        (o.topic.name, o.event, o.event.meta.id) for o in again
    ]
    for output in first:
        meta = output.event.meta
        cause = agent.read(record).meta
        assert (meta.causation_id, meta.correlation_id, meta.time_us) == (cause.id, cause.id, 1_700_000_000_000_000)
    assert (await agent.outputs(envelope("u", ROW, lsn=116)))[1].event.meta.id != first[1].event.meta.id


async def test_the_memory_runner_takes_captured_rows_as_they_are_read() -> None:
    agent = Agent(mapping_of())
    memory = Memory(agent.spec, ports=CapturePorts(agent.objects))
    change = agent.read(envelope("c", ROW))
    emitted = await memory.feed([change])
    assert [type(event) for event in emitted] == [AclChanged, SourceChanged]
    assert memory.topics["shop.public.notes"][0].meta.id == change.meta.id


def test_topics_of_captured_tables_are_planned_like_others_with_dead_letters() -> None:
    plans = {plan.name: plan for plan in plan_topics(capture_topics(mapping_of()), {})}
    assert set(plans) == {"shop.public.notes", "shop.public.notes.dlq"}
    assert plans["shop.public.notes"].config["cleanup.policy"] == "delete"


def test_the_epoch_counts_more_than_any_position() -> None:
    low, high = Position((1 << 56) - 1, (1 << 56) - 1), Position(0, 0)
    assert high.order(1) > low.order(0)
    assert high.acl_version(1) > low.acl_version(0)
    assert low.order(63)[0] < 1 << 62, "the visibility table's file keeps less than 2**62"


async def test_an_older_change_that_comes_late_is_superseded_by_the_corpus() -> None:
    agent, stack = Agent(mapping_of()), Stack()
    new = await agent.changed(envelope("u", ROW | {"body": "The new text."}, commit=300, lsn=308))
    old = await agent.changed(envelope("u", ROW | {"body": "The old text."}, commit=200, lsn=208))
    indexed = await publish(stack, new)
    assert isinstance(indexed, DocumentIndexed)
    [result] = await featurize([old], stack.corpus)
    [settled] = result.events
    assert isinstance(settled, DocumentSettled)
    assert (settled.outcome, settled.reason) == ("superseded", "order")
