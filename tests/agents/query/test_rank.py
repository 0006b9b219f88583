import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.query.rank import Scored, capped, rank, relative, rerank
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


def scored(chunk_id: str, score: float, cosines: list[float], document: str = "d") -> Scored:
    row = ChunkRow(
        tenant="t",
        document=document,
        chunk_id=chunk_id,
        content_hash="",
        text="x" * len(cosines),
        vector=np.array([1, 0], np.float32),
        sentences=tuple((i, i + 1) for i in range(len(cosines))),
        sentence_vectors=np.array([[c, np.sqrt(1 - c * c)] for c in cosines], np.float16).reshape(-1, 2),
    )
    return Scored(row, score, dense=0.5, lexical=0.0)


def test_the_best_sentence_lifts_its_chunk() -> None:
    question = np.array([1, 0], np.float32)
    found = rerank(question, [scored("a", 1.0, [0.1, 0.2]), scored("b", 0.9, [0.0, 0.8]), scored("c", 0.0, [])], 0.4)
    assert [(each.row.chunk_id, each.sentence) for each in found] == [
        ("b", pytest.approx(0.8, abs=1e-3)),
        ("a", pytest.approx(0.2, abs=1e-3)),
        ("c", 0.5),  # no sentences: the chunk's own cosine
    ]
    assert found[0].score == pytest.approx(0.6 * 0.9 + 0.4)
    assert [each.row.chunk_id for each in rerank(question, found, 0.0)] == ["b", "a", "c"]
    assert rerank(question, [], 0.4) == []


def test_sentences_from_one_template_do_not_outweigh_the_word_that_tells_them_apart() -> None:
    """As in "the valve of chamber 69": the vectors of all chambers are near each other, BM25 knows the number."""
    found = rerank(np.array([1, 0], np.float32), [scored("69", 1.0, [0.80]), scored("74", 0.7, [0.82])], 0.45)
    assert [each.row.chunk_id for each in found] == ["69", "74"]


def test_chunks_that_are_equal_in_all_keep_their_order() -> None:
    found = rerank(np.array([1, 0], np.float32), [scored(name, 0.5, [0.3]) for name in "bca"], 0.4)
    assert [each.row.chunk_id for each in found] == ["b", "c", "a"]


def test_a_source_that_is_held_down_takes_its_share_unless_nothing_else_is_there() -> None:
    web = [scored(f"w{i}", 1 - i / 100, [], document="web") for i in range(10)]
    own = [scored(f"o{i}", 0.5 - i / 100, [], document="own") for i in range(8)]

    def source_of(document: str) -> str:
        return "crawler" if document == "web" else ""

    def chosen(candidates: list[Scored], share: float = 0.4) -> list[str]:
        return [each.row.chunk_id for each in capped(candidates, source_of, share, 10)]

    assert chosen([*web, *own]) == ["w0", "w1", "w2", "w3", "o0", "o1", "o2", "o3", "o4", "o5"]
    assert chosen([*web, *own[:3]]) == ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "o0", "o1", "o2"]
    assert chosen(web) == [f"w{i}" for i in range(10)]
    assert chosen([*web, *own], share=1.0) == [f"w{i}" for i in range(10)]
    assert chosen([*own, *web]) == ["o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "w0", "w1"]


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
