import numpy as np

from inference.hashing import HashingEmbedder


async def test_vectors_are_normalised_and_the_same_every_time() -> None:
    texts = ["The mill stands by the river.", "", "!!!", "\ud800", "mill " * 1_000]
    first, second = await HashingEmbedder().embed(texts), await HashingEmbedder().embed(texts[::-1])
    assert (first.shape, first.dtype.name) == ((5, 384), "float32")
    np.testing.assert_array_equal(first, second[::-1])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert (await HashingEmbedder().embed([])).shape == (0, 384)


async def test_the_vector_of_a_text_is_fixed_for_good() -> None:
    vector = (await HashingEmbedder(8).embed(["mill"]))[0]
    assert vector.tolist() == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


async def test_texts_that_share_words_are_near() -> None:
    question, near, far = await HashingEmbedder().embed(
        ["where is the old mill", "the old mill is by the river", "invoices are due in May"]
    )
    assert question @ near > 0.4 > question @ far


async def test_the_order_of_words_counts() -> None:
    first, second = await HashingEmbedder().embed(["dog bites man", "man bites dog"])
    assert first @ second < 0.99


async def test_words_beyond_the_limit_are_not_read() -> None:
    cut, longer = await HashingEmbedder().embed(["mill " * 256, "mill " * 256 + "river"])
    np.testing.assert_array_equal(cut, longer)
    assert HashingEmbedder().count_tokens(["mill " * 300, ""]) == [300, 0]
