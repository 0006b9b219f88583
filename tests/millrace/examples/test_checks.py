"""Laws about the checks before training: each finds what it is for, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.personal_data import PersonalDataFinder
from millrace.examples.checks import Checked, Limits, check
from millrace.examples.content import ExampleContent
from tests.millrace.examples.curated_examples import content, curated

FIND = PersonalDataFinder().find


def held(texts: ExampleContent, **fields: Any) -> tuple[Any, ExampleContent]:
    return curated(texts, **fields), texts


def good(n: int = 24) -> list[tuple[Any, ExampleContent]]:
    """Examples that nothing is wrong with."""
    return [
        held(
            content(f"What is item {at} of list {at * at}?", f"Item {at} weighs {at} pounds.", f"{at}.md"),
            user=f"u{at % 7}", source=("correction", "approved")[at % 2], label="abc"[at % 3], split="train",
        )
        for at in range(n)
    ]  # fmt: skip


def kinds(found: Checked) -> list[str]:
    return [problem.check for problem in found.problems]


def wrong_with(*more: tuple[Any, ExampleContent], limits: Limits | None = None) -> list[str]:
    return kinds(check([*good(), *more], FIND, limits))


def test_nothing_is_wrong_with_good_examples_and_erased_ones_are_counted() -> None:
    found = check([*good(), (curated(content("Gone?")), None)], FIND)
    assert (kinds(found), found.n_examples, found.n_missing) == ([], 24, 1)
    assert sum(found.shares["label"].values()) == 1.0


def test_the_same_question_twice_is_a_duplicate_or_a_contradiction() -> None:
    one = held(content("How long?", document="x.md"), split="train")
    assert wrong_with(one, held(content("how LONG", "sixteen weeks", "x.md"), split="train")) == ["duplicate"]
    assert wrong_with(one, held(content("How long?", "Ten weeks.", "x.md"), split="train")) == ["contradiction"]
    other_site = content("How long?", "Ten weeks.", "x.md", labels={"site": "b"})
    assert wrong_with(one, held(other_site, split="train")) == []


def test_nearly_the_same_is_found_unless_the_numbers_differ() -> None:
    text = "the mill by the river grinds wheat and rye for the whole valley from early spring until the first snow"
    one = held(content(f"Why is it that {text}?", document="x.md"))
    assert wrong_with(one, held(content(f"So why is it that {text}?", document="x.md"))) == ["near_duplicate"]
    assert wrong_with(one, held(content(f"In 1900 why is it that {text}?", document="x.md"))) == []
    assert (
        wrong_with(one, held(content(f"So why is it that {text}?", document="x.md")), limits=Limits(similarity=1.0))
        == []
    )


def test_one_value_with_nearly_all_examples_is_an_imbalance() -> None:
    for name in ("source", "label", "language", "user"):
        values: Sequence[str] = ("approved", "correction") if name == "source" else ("x", "y")
        some = [(example.replace(**{name: values[at == 0]}), texts) for at, (example, texts) in enumerate(good())]
        [problem] = [each for each in check(some, FIND).problems if each.check == "imbalance"]
        assert problem.message.startswith(f"{name} '{values[0]}' has 96% of 24")
        assert kinds(check(some, FIND, Limits(share=0.97))) == []
        assert kinds(check(some[:10], FIND)) == []
    alone = [(example.replace(language="en"), texts) for example, texts in good()]
    assert kinds(check(alone, FIND)) == []


def test_a_document_or_an_example_in_both_splits_is_a_leak() -> None:
    one = held(content("How long?", document="x.md"), split="train")
    assert wrong_with(one, held(content("How far?", "Two miles.", "x.md"), split="eval")) == ["split"]
    assert wrong_with(one, held(content("How far?", "Two miles.", "y.md"), split="eval")) == []
    same = held(content("How long?", document="y.md", labels={"a": "b"}), split="eval")
    assert wrong_with(one, same) == ["split"]


def test_personal_data_that_is_left_is_named_by_its_rule_alone() -> None:
    leaked = content("Who?", "Ask jane@example.org.", "x.md")
    found = check([*good(), held(leaked)], FIND)
    [problem] = found.problems
    assert (problem.check, problem.message) == ("personal_data", "it holds EMAIL_ADDRESS")
    assert problem.examples == (curated(leaked).example,)
    assert kinds(check([*good(), held(leaked)], None)) == []
    assert wrong_with(held(content("Who?", "Ask [EMAIL_ADDRESS_1].", "x.md"))) == []
