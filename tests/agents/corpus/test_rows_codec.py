import msgspec
import numpy as np
import pytest

from agents.corpus.rows_codec import (
    Embedding,
    decode_embedding,
    decode_frequencies,
    decode_manifest,
    decode_rows,
    encode_embedding,
    encode_frequencies,
    encode_manifest,
    encode_rows,
)
from millrace.errors import ContractError
from millrace.events.corpus import ChunkRef, DocumentIndexed
from millrace.rows import ChunkRow


def row(n_sentences: int) -> ChunkRow:
    rng = np.random.default_rng(n_sentences)
    return ChunkRow(
        tenant="t",
        document="d",
        chunk_id=f"id-{n_sentences}",
        content_hash="ab",
        text="Grüße",
        vector=rng.standard_normal(8).astype(np.float32),
        sentences=tuple((i, i + 1) for i in range(n_sentences)),
        sentence_vectors=rng.standard_normal((n_sentences, 8)).astype(np.float16),
    )


def test_rows_come_back_bit_by_bit_and_encode_to_the_same_bytes() -> None:
    rows = [row(0), row(1), row(5)]
    data = encode_rows(rows)
    assert encode_rows(rows) == data
    for found, written in zip(decode_rows(data), rows, strict=True):
        for name in ("tenant", "document", "chunk_id", "content_hash", "text", "sentences"):
            assert getattr(found, name) == getattr(written, name)
        np.testing.assert_array_equal(found.vector, written.vector)
        np.testing.assert_array_equal(found.sentence_vectors, written.sentence_vectors)


def test_a_manifest_comes_back_equal() -> None:
    version = DocumentIndexed(
        tenant="t",
        document="d",
        version=3,
        chunks=(ChunkRef("id", 0, 4, 0, 0),),
        objects=("sha256:00",),
        headings=("",),
    )
    assert decode_manifest(encode_manifest(version)) == version


@pytest.mark.parametrize("decode", [decode_rows, decode_manifest, decode_frequencies])
@pytest.mark.parametrize("data", [b"", b"\xc1", b"text", msgspec.msgpack.encode([1, 2])])
def test_other_bytes_are_a_contract_error(decode: object, data: bytes) -> None:
    with pytest.raises(ContractError):
        decode(data)  # type: ignore[operator]


def test_rows_of_another_format_are_refused() -> None:
    with pytest.raises(ContractError, match="format 2"):
        decode_rows(msgspec.msgpack.encode([2, "t", "d", 8, []]))


def test_a_cached_embedding_that_does_not_fit_is_a_miss() -> None:
    written = Embedding(row(2).vector, row(2).sentence_vectors)
    data = encode_embedding(written)
    found = decode_embedding(data, 8, 2)
    assert found is not None
    np.testing.assert_array_equal(found.sentence_vectors, written.sentence_vectors)
    assert decode_embedding(data, 8, 3) is None
    assert decode_embedding(data, 16, 2) is None
    assert decode_embedding(b"junk", 8, 2) is None


def test_frequencies_do_not_depend_on_the_order_of_counting() -> None:
    assert encode_frequencies({"b": 1, "a": 2}) == encode_frequencies({"a": 2, "b": 1})
    assert decode_frequencies(encode_frequencies({"b": 1})) == {"b": 1}
