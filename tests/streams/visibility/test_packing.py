import io
from random import Random
from uuid import UUID

import pytest
from fastavro import schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.visibility.packing import RecordBytes, cut_chunks, pack, packed_chunk_ids, unpack

NAME = ("acme", "a.md")
UUIDS = st.uuids().map(str)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z")
SPANS = st.builds("00-{}-{}-01".format, DIGESTS.map(lambda text: text[:32]), DIGESTS.map(lambda text: text[:16]))
TEXTS = st.one_of(
    UUIDS, UUIDS.map(str.upper), DIGESTS, TIMES, SPANS, st.text(max_size=40), st.just("0" * 32), st.just("-" * 36),
    st.sampled_from(["acme", "a.md", "", "application/avro", "index"]),
)  # fmt: skip
HEADER_NAMES = st.one_of(st.text(), st.sampled_from(["ce_id", "ce_time", "ce_tenant", "content-type", "traceparent"]))
HEADERS = st.lists(st.tuples(HEADER_NAMES, st.one_of(st.binary(), TEXTS.map(str.encode))))
KEYS = st.one_of(st.binary(), st.just(b"t/acme/d/a.md"))


def chunk_list(ids: list[str], random: Random) -> bytes:
    """An Avro array of chunks, as the codec writes it."""
    found = [_long(len(ids))] if ids else []
    for chunk_id in ids:
        found += [b"H", chunk_id.encode(), *(_long(random.choice([0, 1, 100, 72, 1 << 40])) for _ in range(4))]
    return b"".join((*found, b"\x00"))


def _long(n: int) -> bytes:
    out = io.BytesIO()
    schemaless_writer(out, "long", n)
    return out.getvalue()


@settings(deadline=None)
@given(KEYS, st.binary(max_size=100_000), HEADERS)
def test_a_packed_record_comes_back_byte_for_byte(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    assert unpack(NAME, pack(NAME, (key, value, headers))) == (key, value, headers)


@settings(deadline=None)
@given(st.tuples(st.text(), st.text()), st.lists(TEXTS), st.sampled_from(["\x01", "H", "\x01sha256:", ""]))
def test_identifiers_cut_out_come_back_however_they_are_written(
    name: tuple[str, str], texts: list[str], mark: str
) -> None:
    name = (name[0] or "acme", name[1])
    value = b"\x00H".join((mark + text).encode() for text in texts)
    record: RecordBytes = (b"key", value, [("ce_id", value[:36]), ("ce_tenant", name[0].encode())])
    assert unpack(name, pack(name, record)) == record


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(UUIDS), st.binary(max_size=300), st.randoms(use_true_random=False))
def test_a_chunk_list_is_cut_out_and_comes_back(before: bytes, ids: list[str], after: bytes, random: Random) -> None:
    value = before + chunk_list(ids, random) + after
    chunks = cut_chunks(value, len(before))
    assert chunks is not None
    assert chunks.n_chunks == len(ids)
    assert chunks.end == len(value) - len(after)
    packed = pack(NAME, (b"key", value, []), chunks)
    assert packed_chunk_ids(packed) == b"".join(UUID(text).bytes for text in ids)
    assert unpack(NAME, packed) == (b"key", value, [])


def test_a_chunk_list_in_another_form_is_left_alone() -> None:
    whole = chunk_list([str(UUID(int=n)) for n in range(3)], Random(1))
    assert cut_chunks(whole, 0) is not None
    marked = whole.replace(b"00000001", b"0000000A")
    for other in (whole[:-1], b"\x04" + whole[1:], b"\x86\x00" + whole[1:], whole.replace(b"H", b"J"), marked):
        assert cut_chunks(other, 0) is None


def test_a_header_without_a_value_is_kept() -> None:
    record: RecordBytes = (b"key", b"", [("mine", None)])  # type: ignore[list-item]
    assert unpack(NAME, pack(NAME, record)) == record


def test_what_was_packed_by_a_release_can_be_unpacked_by_the_next() -> None:
    """Fails when layout, tables or dictionary change: that is a new format of the file."""
    assert unpack(NAME, bytes.fromhex(PACKED)) == RECORD


def test_a_damaged_record_is_refused() -> None:
    whole = pack(NAME, RECORD)
    for damaged in (whole[:-3], whole[:9], whole + b"\x00", b"", pack(NAME, (b"k", b"v" * 400, []))[:-3]):
        with pytest.raises(ValueError, match="damaged"):
            unpack(NAME, damaged)


RECORD: RecordBytes = (
    b"t/acme/d/a.md",
    b"\x00\x01\x02\x03\x04\x08acme\x08a.md" + b"plain text " * 40 + b"\x80\x01" + b"0123456789abcdef" * 4,
    [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"6ba7b810-9dad-51d1-80b4-00c04fd430c8"),
        ("ce_type", b"millrace.corpus.DocumentIndexed"),
        ("ce_source", b"millrace/agent/index"),
        ("ce_time", b"2026-01-02T03:04:05.678901Z"),
        ("ce_tenant", b"acme"),
        ("content-type", b"application/avro"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("mine", b"value"),
    ],
)
PACKED = (
    "000000009b7a601ec37f1526967fd2bf18187f9b2fc9cdcc4b3dc25a9698539a3af50837d035cc2c1c89c9b9a91c0c47197715e42466e6"
    "011d0e74f1287308854303a3c3118603138f3000006ba7b8109dad51d180b400c04fd430c820260102030405678901000af7651916cd43"
    "dd8448eb211c80319cb7ad6b7169203331010123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)
