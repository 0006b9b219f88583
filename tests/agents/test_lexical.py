import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.lexical import K1, B, CorpusTerms, bm25, count, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rotate the KEYS, policies & glasses!", ["rotate", "the", "key", "policy", "glass"]),
        ("Café naïve ﬁle", ["cafe", "naive", "file"]),
        ("bus gas corpus is us shoes", ["bus", "gas", "corpus", "is", "us", "shoe"]),
        ("snake_case x2 3.14", ["snake", "case", "x2", "3", "14"]),
        ("東京タワー Tokyo", ["東", "京", "タ", "ワ", "ー", "tokyo"]),
        ("", []),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@given(st.text(), st.lists(st.text()))
def test_terms_are_counted_text_by_text(question: str, texts: list[str]) -> None:
    counts = count(question, [*texts, question])
    found = [terms(text) for text in (*texts, question)]
    assert counts.lengths.tolist() == [len(each) for each in found]
    assert counts.frequencies.tolist() == [[each.count(term) for term in counts.terms] for each in found]


def test_bm25_is_the_formula_and_repeated_terms_of_the_question_count_once() -> None:
    corpus = CorpusTerms(n_chunks=10, mean_terms=4.0, frequencies={"key": 2})
    idf = math.log(1 + (10 - 2 + 0.5) / (2 + 0.5))
    expected = idf * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * 5 / 4))
    found = bm25(count("key keys absent", ["key key and one more", "nothing"]), corpus)
    assert found.tolist() == pytest.approx([expected, 0.0])


@given(st.integers(0, 1_000), st.integers(1, 500))
def test_idf_is_never_negative(frequency: int, n_chunks: int) -> None:
    assert CorpusTerms(n_chunks, 1.0, {"a": frequency}).idf("a") > 0


def test_statistics_are_of_these_texts_alone() -> None:
    found = count("key door", ["key key", "a key here", "none"]).statistics()
    assert (found.n_chunks, found.mean_terms, found.frequencies) == (3, 2.0, {"key": 2, "door": 0})


def test_no_texts_and_no_terms_are_no_error() -> None:
    assert count("key", []).statistics().n_chunks == 0
    for question, texts in (("key", []), ("?", ["a key"]), ("key", [""])):
        counts = count(question, texts)
        assert bm25(counts, counts.statistics()).tolist() == [0.0] * len(texts)
