"""Texts are compared as SQuAD's scorer does."""

import pytest

from millrace.evaluation.text_match import exact_match, f1, holds, normalised


def test_case_punctuation_articles_and_spaces_do_not_count() -> None:
    assert normalised("The  **Lock-keeper's** an hour\tlate!") == "lockkeepers hour late"


def test_an_answer_is_held_from_word_border_to_word_border() -> None:
    assert holds("It costs 640 euros, each.", ["640 Euros each"])
    assert not holds("It costs 1640 euros.", ["640 euros"])
    assert not holds("anything", ["the", "..."])


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("six weeks", ["six weeks"], 1.0),
        ("six weeks of leave", ["six weeks"], 2 * 2 / (4 + 2)),
        ("six six", ["six"], 2 * 1 / (2 + 1)),
        ("nothing", ["six weeks"], 0.0),
        ("six weeks", ["a month", "six weeks."], 1.0),
        ("", ["six"], 0.0),
        ("six", [], 0.0),
    ],
)
def test_f1_is_that_of_the_answer_that_fits_best(text: str, answers: list[str], expected: float) -> None:
    assert f1(text, answers) == pytest.approx(expected)


def test_an_exact_match_is_the_whole_text() -> None:
    assert exact_match("The six weeks.", ["five", "Six weeks"]) == 1.0
    assert exact_match("six weeks of leave", ["six weeks"]) == 0.0
