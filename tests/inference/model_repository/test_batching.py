import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.model_repository.batching import RUN_TOKENS, cut_batches, pack, pad, unpack

TEXTS = st.lists(st.lists(st.integers(0, 30_522), min_size=1, max_size=20), min_size=1, max_size=20)


@given(st.lists(st.integers(2, 256), max_size=200), st.integers(256, 4_096))
def test_batches_hold_every_text_once_within_the_bound(lengths: list[int], bound: int) -> None:
    batches = cut_batches(lengths, bound)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        n_tokens = len(batch) * max(lengths[i] for i in batch)
        assert n_tokens <= bound
        assert n_tokens - sum(lengths[i] for i in batch) <= RUN_TOKENS


def test_a_text_over_the_bound_is_a_batch_of_its_own() -> None:
    assert cut_batches([500, 10, 10], 100) == [[0], [1, 2]]


@given(TEXTS)
def test_texts_come_out_of_a_packed_tensor_as_they_went_in(rows: list[list[int]]) -> None:
    tokens, begins = pack(rows)
    assert tokens.shape == begins.shape == (sum(map(len, rows)), 1)
    assert (tokens.dtype.name, begins.dtype.name) == ("int32", "bool")
    assert [row.tolist() for row in unpack(tokens, begins)] == rows


def test_a_tensor_whose_first_token_begins_no_text_is_refused() -> None:
    tokens, begins = pack([[101, 102], [101, 7, 102]])
    for wrong in (begins[::-1], np.zeros_like(begins)):
        with pytest.raises(ValueError, match="first token must begin a text"):
            unpack(tokens, wrong)


@given(TEXTS)
def test_padding_is_masked(rows: list[list[int]]) -> None:
    ids, mask = pad(rows)
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    assert mask.sum(axis=1).tolist() == list(map(len, rows))
    assert not ids[mask == 0].any()
    assert [row[: len(given)].tolist() for row, given in zip(ids, rows, strict=True)] == rows
