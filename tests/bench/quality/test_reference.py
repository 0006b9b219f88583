"""The reference does what it says, on vectors that are chosen by hand."""

import numpy as np
import pytest

from bench.quality.reference import bm25


def test_rare_words_count_more_and_long_texts_less() -> None:
    texts = [{"lock": 1, "opens": 1}, {"lock": 1, "closes": 1}, {"lock": 1, "opens": 1, "pad": 20}]
    scores = bm25(["lock", "opens", "opens", "never"], texts)
    assert scores[0] > scores[2] > scores[1] > 0
    expected = np.log(1 + 2.5 / 1.5) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / (26 / 3)))  # mean length 26 / 3
    assert bm25(["closes"], texts)[1] == pytest.approx(expected)
