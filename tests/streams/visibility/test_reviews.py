"""Laws about what is known of reviews: the last word counts, once, within a bound."""

from __future__ import annotations

from typing import Any

from millrace.event import Event
from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened
from streams.visibility.decisions import DocumentDecisions
from streams.visibility.reviews import ReviewLog
from tests.builders import with_meta

CONNECTION = {"bootstrap_servers": "127.0.0.1:1"}


def opened(item: str = "i", tenant: str = "acme") -> Event:
    return with_meta(
        ReviewItemOpened(
            tenant=tenant, item=item, subject_kind="document", subject="a.md", stage="s", rule="r", reason="found"
        )
    )


def made(decision: str, item: str = "i", **fields: Any) -> ReviewDecisionMade:
    given: dict[str, Any] = {"tenant": "acme", "subject_kind": "document", "subject": "a.md", "user": "ann"}
    found: ReviewDecisionMade = with_meta(
        ReviewDecisionMade(item=item, decision=decision, **(given | fields)),  # type: ignore[arg-type]
        id=f"{item}-{decision}-{fields}",
    )
    return found


def test_an_item_has_its_decisions_whichever_was_read_first() -> None:
    for events in ((opened(), made("confirm"), made("dismiss")), (made("confirm"), made("dismiss"), opened())):
        log = ReviewLog(CONNECTION)
        for n, event in enumerate(events):
            log.keep(event, n, 100)
        found = log.find("acme", "i")
        assert found is not None
        assert found.last is not None
        assert [each.decision for _, each in found.decisions] == ["confirm", "dismiss"]
        assert log.find("evil", "i") is None


def test_an_item_opened_again_keeps_its_time_and_decisions_and_a_record_read_twice_counts_once() -> None:
    log = ReviewLog(CONNECTION)
    for at_ms, event in ((10, opened()), (20, made("confirm")), (20, made("confirm")), (30, opened())):
        log.keep(event, at_ms, 100)
    (found,) = log.of_tenant("acme")
    assert (found.opened_at_ms, len(found.decisions)) == (10, 1)


def test_items_are_listed_newest_first_within_a_bound() -> None:
    log = ReviewLog(CONNECTION, max_items=2)
    for n in range(3):
        log.keep(opened(f"i{n}"), n, 100)
    log.keep(opened("foreign", "evil"), 9, 100)
    assert [each.item.item for each in log.of_tenant("acme")] == ["i2"]
    assert [each.item.item for each in log.of_tenant("evil")] == ["foreign"]


def test_the_last_decision_about_a_text_says_whether_it_may_be_read() -> None:
    view = DocumentDecisions(CONNECTION)
    view.keep(made("release", content="sha256:1"), 1, 100)
    assert view.released("acme", "a.md", "sha256:1")
    assert not view.released("acme", "a.md", "sha256:2")
    assert not view.released("acme", "b.md", "sha256:1")
    assert not view.released("evil", "a.md", "sha256:1")
    view.keep(made("withdraw", content="sha256:1"), 2, 100)
    assert not view.released("acme", "a.md", "sha256:1")
    assert view.withdrawn("acme", "a.md")


def test_a_document_is_withdrawn_as_long_as_one_item_says_so() -> None:
    view = DocumentDecisions(CONNECTION)
    for decision, item in (("withdraw", "i"), ("withdraw", "k"), ("release", "i")):
        view.keep(made(decision, item), 1, 100)
    assert view.withdrawn("acme", "a.md")
    view.keep(made("release", "k"), 2, 100)
    assert not view.withdrawn("acme", "a.md")


def test_a_document_stays_withdrawn_when_somebody_dismisses_the_item_at_the_same_time() -> None:
    view, log = DocumentDecisions(CONNECTION), ReviewLog(CONNECTION)
    log.keep(opened(), 1, 100)
    for decision in ("withdraw", "dismiss"):
        view.keep(made(decision, text="a note"), 1, 100)
        log.keep(made(decision), 1, 100)
    assert view.withdrawn("acme", "a.md")
    found = log.find("acme", "i")
    assert found is not None
    assert [each.decision for _, each in found.decisions] == ["withdraw"]


def test_an_item_that_is_opened_again_with_another_text_is_to_be_decided_again() -> None:
    log = ReviewLog(CONNECTION)
    for content in ("sha256:1", "sha256:2"):
        log.keep(with_meta(opened().replace(content=content)), 1, 100)
        log.keep(made("release", content="sha256:1"), 2, 100)
        found = log.find("acme", "i")
        assert found is not None
        assert (found.last is None) == (content == "sha256:2")
