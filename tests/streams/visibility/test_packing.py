import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.visibility.packing import pack, unpack

HEADERS = st.lists(st.tuples(st.text(), st.binary()))


@given(st.binary(), st.binary(max_size=100_000), HEADERS)
def test_a_packed_record_comes_back_byte_for_byte(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    assert unpack(pack(key, value, headers)) == (key, value, headers)


def test_a_damaged_record_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpack(pack(b"k", b"v" * 400, [])[:-3])
