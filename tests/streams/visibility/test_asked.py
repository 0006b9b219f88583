"""Laws about the tails of questions and answers: newest first, bounded, and nothing forgotten is found again."""

from __future__ import annotations

from millrace.event import Meta, attach
from millrace.events.query import AnswerProduced, Citation, QueryReceived
from streams.visibility.asked import AnswersByDocument, RecentQuestions

CONNECTION = {"bootstrap_servers": "127.0.0.1:1"}


def answer(correlation: str, *documents: str, tenant: str = "acme", user: str = "") -> AnswerProduced:
    citations = tuple(
        Citation(document=name, version=1, chunk_id=name, title="", heading="", start=0, end=1, quote="")
        for name in documents
    )
    return AnswerProduced(
        tenant=tenant, conversation="c", correlation=correlation, status="answered", citations=citations, user=user
    )


def question(correlation: str, trace: str, tenant: str = "acme", user: str = "") -> QueryReceived:
    event = QueryReceived(tenant=tenant, conversation="c", question=correlation, user=user)
    meta = Meta(
        id=correlation, type=event.type_name(), source="test", time_us=1, tenant=tenant,
        correlation_id=correlation, traceparent=f"00-{trace}-{'1' * 16}-01",
    )  # fmt: skip
    return attach(event, meta)


def names(found: object) -> list[str]:
    return [event.correlation for event in found]  # type: ignore[attr-defined]


def test_answers_are_found_newest_first_by_tenant_and_by_each_document_they_quote() -> None:
    view = AnswersByDocument(CONNECTION)
    view.keep(answer("late", "a.md", "b.md"), 3_000, 100)
    view.keep(answer("early", "a.md"), 1_000, 100)
    view.keep(answer("foreign", "a.md", tenant="evil"), 2_000, 100)
    assert names(view.newest("acme")) == ["late", "early"]
    assert names(view.from_document("acme", "a.md")) == ["late", "early"]
    assert names(view.from_document("acme", "b.md")) == ["late"]
    assert names(view.from_document("acme", "c.md")) == []


def test_ones_own_are_found_without_looking_at_those_of_others() -> None:
    answers, questions = AnswersByDocument(CONNECTION), RecentQuestions(CONNECTION)
    for n, user in enumerate(["ann", "ben", "ben", "ann"]):
        answers.keep(answer(f"q{n}", user=user), n, 100)
        questions.keep(question(f"q{n}", f"{n}" * 32, user=user), n, 100)
    answers.keep(answer("foreign", tenant="evil", user="ann"), 9, 100)
    assert names(answers.newest("acme", "ann")) == ["q3", "q0"]
    assert [event.question for event in questions.newest("acme", "ann")] == ["q3", "q0"]
    assert names(answers.newest("acme", "eve")) == []


def test_what_was_forgotten_is_in_no_list() -> None:
    view = AnswersByDocument(CONNECTION, max_bytes=250)
    for n in range(4):
        view.keep(answer(f"q{n}", "a.md"), n, 100)
    assert names(view.newest("acme")) == ["q3", "q2"]
    assert names(view.from_document("acme", "a.md")) == ["q3", "q2"]


def test_a_list_that_is_being_read_may_lose_entries_meanwhile() -> None:
    view = AnswersByDocument(CONNECTION, max_bytes=250)
    view.keep(answer("q0"), 0, 100)
    view.keep(answer("q1"), 1, 100)
    reading = view.newest("acme")
    assert next(reading).correlation == "q1"
    view.keep(answer("q2"), 2, 100)
    assert names(reading) == []


def test_a_question_is_found_by_correlation_and_trace_id_of_its_own_tenant_until_it_is_forgotten() -> None:
    view = RecentQuestions(CONNECTION, max_bytes=250)
    view.keep(question("q0", "a" * 32), 0, 100)
    found = view.find("acme", "a" * 32)
    assert found is not None
    assert found is view.find("acme", "q0")
    assert view.find("evil", "a" * 32) is None
    assert view.find("evil", "q0") is None
    view.keep(question("q1", "b" * 32), 1, 100)
    view.keep(question("q2", "c" * 32), 2, 100)
    assert view.find("acme", "a" * 32) is None
    assert [event.question for event in view.newest("acme")] == ["q2", "q1"]


def test_a_later_question_cannot_take_over_the_trace_id_of_an_earlier_one() -> None:
    view = RecentQuestions(CONNECTION)
    view.keep(question("q0", "a" * 32), 0, 100)
    view.keep(question("q1", "a" * 32), 1, 100)
    found = view.find("acme", "a" * 32)
    assert found is not None
    assert found.question == "q0"
