"""Laws about receipt tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace import receipts
from millrace.errors import InputRejected
from millrace.events.query import Receipt

RECEIPTS = st.lists(
    st.builds(
        Receipt, st.text(min_size=1), st.text(min_size=1), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2)
    ),
    max_size=8,
)


@given(RECEIPTS)
def test_a_token_brings_back_the_newest_receipt_of_each_document(some: list[Receipt]) -> None:
    token = receipts.encode(some)
    assert token.isascii()
    assert not set(token) & set("+/= \n")
    assert (receipts.decode(token) if some else ()) == receipts.merged(some)


def test_a_later_version_and_a_later_access_are_one_receipt() -> None:
    some = [Receipt("t", "d", 3), Receipt("t", "d", 0, 2), Receipt("t", "d", 1, 0, 1), Receipt("t", "e", 1)]
    assert receipts.merged(some) == (Receipt("t", "d", 1, 2, 1), Receipt("t", "e", 1))


@pytest.mark.parametrize("token", ["", "nonsense", "mr1.", "mr1.AAAA", "mr1.é"])
def test_what_is_no_token_is_refused_in_words(token: str) -> None:
    with pytest.raises(InputRejected, match="receipt"):
        receipts.decode(token)


def test_a_token_that_was_cut_short_is_refused() -> None:
    token = receipts.encode([Receipt("tenant", f"document-{n}", n) for n in range(1, 9)])
    for length in range(4, len(token) - 1):
        with pytest.raises(InputRejected):
            receipts.decode(token[:length])
