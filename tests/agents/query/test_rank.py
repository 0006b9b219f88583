import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.query.rank import rank, relative
from inference.hashing import HashingEmbedder
from millrace.rows import ChunkRow

QUESTION = "how often are keys rotated"


async def rows(texts: list[str]) -> list[tuple[ChunkRow, str]]:
    vectors = await HashingEmbedder(64).embed(texts)
    return [
        (
            ChunkRow(
                tenant="t",
                document="d",
                chunk_id=f"{i:03}",
                content_hash="",
                text=text,
                vector=vector,
                sentences=(),
                sentence_vectors=np.zeros((0, 64), np.float16),
            ),
            text,
        )
        for i, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]


async def order(found: list[tuple[ChunkRow, str]], weight: float = 0.5) -> list[tuple[str, float]]:
    vector = (await HashingEmbedder(64).embed([QUESTION]))[0]
    return [(scored.row.chunk_id, scored.score) for scored in rank(QUESTION, vector, found, None, weight, 100)]


async def test_the_order_of_the_candidates_does_not_matter() -> None:
    rng = random.Random(5)
    found = await rows(
        [
            " ".join(rng.choices(["keys", "are", "rotated", "how", "often", "by", "whom", "when"], k=9))
            for _ in range(60)
        ]
    )
    expected = await order(found)
    for _ in range(5):
        rng.shuffle(found)
        assert await order(found) == expected


async def test_equal_chunks_are_ordered_by_id() -> None:
    found = await rows(["keys are rotated"] * 5)
    assert [chunk_id for chunk_id, _ in await order(found[::-1])] == ["000", "001", "002", "003", "004"]


async def test_the_weight_moves_the_score_from_words_to_vectors() -> None:
    found = await rows(["keys rotated often", "unrelated text about ships", "how are you"])
    assert (await order(found, 0.0))[0] == ("000", 1.0)
    assert (await order(found, 1.0))[0][1] == 1.0
    assert await order([]) == []


@given(st.lists(st.floats(0, 100), min_size=1))
def test_relative_scores_keep_order_and_lie_between_0_and_1(scores: list[float]) -> None:
    found = relative(np.array(scores))
    assert found.min() >= 0
    assert found.max() <= 1
    for i, low in enumerate(scores):
        assert all(found[i] <= found[j] for j, high in enumerate(scores) if low <= high)


@pytest.mark.parametrize(("scores", "expected"), [([0.0, 0.0], [0.0, 0.0]), ([2.0, 2.0], [1.0, 1.0]), ([3.0], [1.0])])
def test_equal_scores_say_only_whether_there_is_a_match(scores: list[float], expected: list[float]) -> None:
    assert relative(np.array(scores)).tolist() == expected
