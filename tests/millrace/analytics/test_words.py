"""Laws about words: what is content, what sets groups apart, and whose words may be shown."""

import pytest

from millrace.analytics.words import content_words, distinctive, folded, language_of


def test_function_words_and_numbers_carry_no_topic() -> None:
    assert content_words("How many days of the 2026 leave can I carry over?") == ["days", "leave", "carry"]
    assert content_words("Wie viele Tage Urlaub habe ich?") == ["viele", "tage", "urlaub", "habe"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the office?", "en"),
        ("Wo ist das Büro und wer hat den Schlüssel?", "de"),
        ("Où est le bureau de la direction ?", "fr"),
        ("¿Dónde está la oficina de los empleados?", "es"),
        ("parental leave", "und"),
        ("休暇は何日ですか", "und"),
    ],
)
def test_a_language_is_known_by_its_function_words(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(("word", "one"), [("policies", "policy"), ("days", "day"), ("class", "class"), ("bus", "bus")])
def test_a_plural_counts_with_its_singular(word: str, one: str) -> None:
    assert folded(word) == one


def test_a_group_is_named_by_what_others_do_not_say() -> None:
    groups = {
        0: [("a", "company leave days"), ("b", "company leave rules"), ("c", "leave of the company")],
        1: [("d", "company travel costs"), ("e", "travel of the company"), ("f", "travel rules")],
    }
    names = distinctive(groups, n_words=1)
    assert names == {0: ["leave"], 1: ["travel"]}


def test_a_word_that_one_person_alone_uses_is_not_shown_however_often_they_do() -> None:
    groups = {
        0: [("a", "smithson leave")] * 9 + [("b", "leave"), ("c", "leave")],
        1: [("d", "travel"), ("e", "travel")],
    }
    assert distinctive(groups)[0] == ["leave"]
    assert "smithson" in distinctive(groups, least_people=1)[0]  # the rule is what keeps it out


def test_a_surname_that_two_people_write_is_not_shown() -> None:
    groups = {
        0: [("a", "smithson leave"), ("b", "smithson leave"), ("c", "leave")],
        1: [("d", "travel"), ("e", "travel"), ("f", "travel")],
    }
    assert distinctive(groups)[0] == ["leave"]
    assert "smithson" in distinctive(groups, least_people=2)[0]  # the rule is what keeps it out
