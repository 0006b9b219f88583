"""Laws about intents: one for each question, by its form."""

import pytest

from millrace.analytics.intents import MEANINGS, OTHER, RULES, intent_of


@pytest.mark.parametrize(
    ("question", "intent"),
    [
        ("Who approves a trip?", "who"),
        ("Peyton Manning played for which team?", "who"),
        ("When does the canteen open?", "when"),
        ("In what year was the site opened?", "when"),
        ("Where is the form?", "where"),
        ("In which country is the plant?", "where"),
        ("How long is parental leave?", "how much"),
        ("What is the maximum amount for meals?", "how much"),
        ("How do I reset my password?", "how to"),
        ("how to book a room", "how to"),
        ("How do you share my data?", "how"),
        ("How does the heat pump work?", "how"),
        ("Can I carry over holidays?", "yes or no"),
        ("Isn't the deadline on Friday?", "yes or no"),
        ("Are any data collected when I visit?", "yes or no"),
        ("What is a twin prime?", "definition"),
        ("What does VPN stand for?", "definition"),
        ("What is the difference between leave and absence?", "comparison"),
        ("Is the old plan better than the new one?", "comparison"),
        ("Why was my claim refused?", "why"),
        ("What documents do I need for a visa?", "what"),
        ("Could you please tell me when the canteen opens?", "when"),
        ("I would like to know who signs contracts", "who"),
        ("List the open positions", "command"),
        ("summarise the travel policy", "command"),
        ("parental leave duration", OTHER),
        ("Wie lange ist die Elternzeit?", "in de"),
        ("", OTHER),
    ],
)
def test_a_question_has_the_intent_of_its_form(question: str, intent: str) -> None:
    assert intent_of(question) == intent


def test_a_curly_apostrophe_is_an_apostrophe() -> None:
    assert intent_of("Isn’t it closed?") == intent_of("Isn't it closed?") == "yes or no"


def test_every_intent_is_explained() -> None:
    assert set(MEANINGS) == {rule.intent for rule in RULES} | {OTHER}
    assert all(MEANINGS.values())
