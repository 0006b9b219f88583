from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.visibility.packing import pack, packed_chunk_ids, unpack

HEADERS = st.lists(st.tuples(st.text(), st.binary()))


@given(st.binary(), st.binary(max_size=100_000), HEADERS)
def test_a_packed_record_comes_back_byte_for_byte(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    assert unpack(pack(key, value, headers)) == (key, value, headers)


UUIDS = st.uuids().map(str)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
TEXTS = st.one_of(UUIDS, UUIDS.map(str.upper), DIGESTS, st.text(max_size=40), st.just("0" * 32), st.just("-" * 36))


@given(st.lists(TEXTS), st.lists(TEXTS), st.lists(TEXTS), st.randoms(use_true_random=False))
def test_identifiers_cut_out_come_back_however_they_are_written(
    first: list[str], chunk_ids: list[str], last: list[str], random: Random
) -> None:
    texts = [*first, *chunk_ids, *last]
    if random.random() < 0.3:
        random.shuffle(texts)
    value = b"\x00H".join(text.encode() for text in texts)
    packed = pack(b"key", value, [("ce_id", value[:36])], chunk_ids, (first, last))
    assert unpack(packed) == (b"key", value, [("ce_id", value[:36])])


def test_chunk_ids_can_be_looked_at_without_unpacking() -> None:
    ids = [str(UUID(int=n)) for n in (1, 2, 3)]
    packed = pack(b"", " ".join(ids).encode(), [], ids)
    assert packed_chunk_ids(packed) == b"".join(UUID(int=n).bytes for n in (1, 2, 3))


def test_a_damaged_record_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpack(pack(b"k", b"v" * 400, [])[:-3])
