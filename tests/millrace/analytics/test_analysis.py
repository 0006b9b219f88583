"""Laws about what an analysis says, and what it keeps to itself."""

from __future__ import annotations

import html
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from millrace.analytics.analysis import analyse, weeks_of
from millrace.analytics.masking import stack_finder
from millrace.analytics.questions import WEEK_US, Asked
from millrace.analytics.reading import Collected
from millrace.analytics.report import write_html
from millrace.analytics.summary import AnalysisOptions, Report, TenantReport, load_report, save_report
from millrace.errors import InputRejected
from tests.millrace.analytics.traffic import MONDAY_US, about, weeks
from tests.personal_values import KINDS, core

SHOWN = AnalysisOptions()


def analysed(
    *questions: list[Asked], options: AnalysisOptions = SHOWN, n_weeks: int = 2, before: Report | None = None
) -> TenantReport:
    rows = tuple(sorted((each for part in questions for each in part), key=lambda each: each.at_us))
    (found,) = analyse(Collected(rows), weeks(n_weeks), options, find=stack_finder(), before=before)
    return found


def report_of(tenant: TenantReport) -> Report:
    return Report(
        made_at="", asked_from="", asked_to="", weeks=("2026-W01", "2026-W02"), options=SHOWN, tenants=(tenant,)
    )


def test_topics_are_named_counted_by_week_and_ranked() -> None:
    found = analysed(about("leave", 9), about("leave", 6, week=1), about("travel", 8), about("badge", 7, week=1))
    assert [(topic.n, topic.by_week) for topic in found.topics] == [(15, (9, 6)), (8, (8, 0)), (7, (0, 7))]
    assert "leave" in found.topics[0].name
    assert found.topics[0].by_intent == {"how much": 15}
    assert found.topics[0].examples
    assert found.by_intent == {"how much": 15, "what": 8, "where": 7}


def test_a_topic_of_few_people_has_no_name_no_example_and_no_centre() -> None:
    few = about("badge", 9, people=4)
    found = analysed(about("leave", 9), few)
    assert [topic.n for topic in found.topics] == [9]
    assert (found.other.n, found.other.name, found.other.examples, found.other.centre) == (9, "", (), "")
    assert "badge" not in msgspec.json.encode(found).decode()
    shown = analysed(about("leave", 9), few, options=AnalysisOptions(least_people=4))
    assert "badge" in msgspec.json.encode(shown).decode()  # the rule is what keeps it out


def test_who_is_not_named_is_one_person_for_each_conversation() -> None:
    questions = about("leave", 9)
    for each in questions:
        each.user, each.conversation = "", "one"
    assert not analysed(questions).topics


def test_personal_data_reaches_no_part_of_the_report() -> None:
    questions = about("leave", 9)
    for each in questions:
        each.text = "How long is parental leave for jane.smithson@example.org?"
    found = analysed(questions)
    text = msgspec.json.encode(found).decode()
    assert "smithson" not in text
    assert "[EMAIL_ADDRESS]" in text
    (unmasked,) = analyse(Collected(tuple(questions)), weeks(2), AnalysisOptions(), find=None)
    assert "smithson" in msgspec.json.encode(unmasked).decode()  # the finder is what keeps it out


@pytest.mark.parametrize("make", KINDS)
def test_no_kind_of_personal_data_reaches_the_report_or_its_page(
    make: Callable[[random.Random], str], tmp_path: Path
) -> None:
    rng = random.Random(31)
    questions = about("leave", 12)
    values = [make(rng) for _ in questions]
    for each, value in zip(questions, values, strict=True):
        each.text = f"How long is parental leave for the person under: {value} ok?"

    report = report_of(analysed(questions))
    write_html(report, tmp_path / "report.html")
    text = html.unescape((tmp_path / "report.html").read_text()) + msgspec.json.encode(report).decode()
    assert "parental" in text
    assert [value for value in values if core(value) in text] == []
    (unmasked,) = analyse(Collected(tuple(questions)), weeks(2), AnalysisOptions(), find=None)
    shown = msgspec.json.encode(unmasked).decode().replace("\\n", "\n")
    assert any(core(value) in shown for value in values)  # control: the finder is what keeps them out


def test_examples_can_be_left_out() -> None:
    found = analysed(about("leave", 9), options=AnalysisOptions(examples=False))
    assert found.topics[0].name
    assert not any(topic.examples for topic in found.topics)


def test_what_the_corpus_does_not_answer_is_ranked_with_the_words_that_set_it_apart() -> None:
    missing = about("leave", 6, status="not_found")
    for each in missing:
        each.text = "How long is parental leave for adoption?"
    found = analysed(about("leave", 9, week=1), missing, about("badge", 7, status="not_found"), about("travel", 8))
    badge, leave = found.unanswered
    assert (badge.n, badge.share, leave.n, leave.share) == (7, 1.0, 6, 0.4)
    assert "adoption" in leave.words
    assert leave.examples[0] == "How long is parental leave for adoption?"


def test_a_stage_that_says_corpus_counts_as_not_answered_by_it() -> None:
    poor = about("travel", 7, poor=True, stage="corpus")
    found = analysed(poor)
    assert found.unanswered[0].n == found.topics[0].n_poor == 7
    assert found.topics[0].by_stage == {"corpus": 7}


def test_unanswered_questions_of_few_people_are_counted_and_not_shown() -> None:
    missing = about("leave", 2, status="not_found")
    for each in missing:
        each.text = "How long is parental leave for adoption?"
    found = analysed(about("leave", 9, week=1), missing)
    assert [(each.n, each.words, each.examples) for each in found.unanswered] == [(2, (), ())]


def test_questions_without_a_vector_are_counted_and_have_no_topic() -> None:
    refused = [msgspec.structs.replace(each, vector=b"", text="", status="refused") for each in about("travel", 4)]
    found = analysed(about("leave", 9), refused)
    assert (found.n, found.n_not_sampled, found.by_status["refused"]) == (13, 4, 4)


def test_vectors_of_another_model_are_not_compared() -> None:
    old = [msgspec.structs.replace(each, model="old") for each in about("leave", 6)]
    found = analysed(about("leave", 9, week=1), old)
    assert (found.model, found.n_not_sampled, found.topics[0].n) == ("m", 6, 9)


def test_a_topic_keeps_its_name_from_report_to_report(tmp_path: Path) -> None:
    first = analysed(about("leave", 9), about("travel", 8))
    path = tmp_path / "new" / "report.json"
    save_report(report_of(first), path)
    renamed = about("leave", 12, week=1)
    for each in renamed:
        each.text = "What is the duration of the absence of fathers?"
    again = analysed(renamed, before=load_report(path))
    assert (again.topics[0].id, again.topics[0].name) == (first.topics[0].id, first.topics[0].name)
    assert "duration" in analysed(renamed).topics[0].name  # its name would be another one


def test_a_name_of_a_report_for_other_readers_is_not_taken_over() -> None:
    alone = about("leave", 9, people=1)
    for each in alone:
        each.text = "How long is parental leave for Kowalski?"
    own = report_of(analysed(alone, options=AnalysisOptions(least_people=1)))
    own = msgspec.structs.replace(own, options=AnalysisOptions(least_people=1))
    assert "kowalski" in own.tenants[0].topics[0].name
    everybody = analysed(about("leave", 12, week=1), before=own)
    assert everybody.topics[0].id == own.tenants[0].topics[0].id  # the topic goes on
    assert "kowalski" not in everybody.topics[0].name


def test_a_file_that_is_no_report_is_named(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(InputRejected, match="cannot be read"):
        load_report(path)
    path.write_text("{}")
    with pytest.raises(InputRejected, match="is no report"):
        load_report(path)


def test_usage_is_told_week_by_week() -> None:
    good = about("leave", 8, n_tokens=100, cost_usd=0.25, latency_ms=20.0, feedback=[1.0])
    bad = about("leave", 2, status="failed", latency_ms=80.0, feedback=[-1.0, -1.0], poor=True)
    first, second = analysed(good, bad).usage
    assert (first.n, first.answered, first.n_tokens, first.cost_usd) == (10, 0.8, 800, 2.0)
    assert (first.p50_ms, first.n_feedback, first.n_poor) == (20.0, 12, 2)
    assert first.liked == pytest.approx(8 / 12)
    assert (second.n, second.answered, second.p50_ms, second.liked) == (0, None, None, None)


def test_a_week_in_which_few_people_asked_has_no_numbers() -> None:
    alone = about("leave", 9, week=1, people=2, n_tokens=77)
    rows = (about("leave", 9, n_tokens=100), alone, about("travel", 6, week=2, n_tokens=100))
    found = analysed(*rows, n_weeks=4)
    assert [(week.n, week.n_people, week.n_tokens) for week in found.usage] == [
        (9, 9, 900),
        (None, None, None),
        (None, None, None),  # the total less the others would be the week of two people
        (0, 0, 0),
    ]
    (leave, _) = found.topics
    assert (leave.n, leave.by_week) == (18, (None, None, 0, 0))
    told = analysed(*rows, n_weeks=4, options=AnalysisOptions(least_counted=2))
    assert [week.n for week in told.usage] == [9, 9, 6, 0]  # the rule is what keeps it out
    assert told.topics[0].by_week == (9, 9, 0, 0)


def test_a_surname_that_two_people_write_names_no_topic() -> None:
    questions = about("leave", 9)
    for each in questions[:2]:
        each.text = "How long is parental leave for Kowalski?"
    for each in questions[2:]:
        each.text = "How long?"
    assert "kowalski" not in analysed(questions).topics[0].name
    shown = analysed(questions, options=AnalysisOptions(least_counted=2))
    assert "kowalski" in shown.topics[0].name  # the rule is what keeps it out


def test_a_name_of_two_peoples_words_is_not_taken_over() -> None:
    questions = about("leave", 9)
    for each in questions:
        each.text = "How long?"
    for each in questions[:2]:
        each.text = "How long is parental leave for Kowalski?"
    lax = AnalysisOptions(least_counted=2)
    own = msgspec.structs.replace(report_of(analysed(questions, options=lax)), options=lax)
    assert "kowalski" in own.tenants[0].topics[0].name
    everybody = analysed(about("leave", 12, week=1), before=own)
    assert everybody.topics[0].id == own.tenants[0].topics[0].id  # the topic goes on
    assert "kowalski" not in everybody.topics[0].name


def test_tenants_are_never_mixed() -> None:
    other = [msgspec.structs.replace(each, tenant="beta") for each in about("leave", 9)]
    rows = (*about("leave", 9), *other)
    found = analyse(Collected(rows), weeks(1), SHOWN, find=stack_finder())
    assert [(each.tenant, each.n, each.topics[0].n) for each in found] == [("acme", 9, 9), ("beta", 9, 9)]


def test_every_week_that_a_range_touches_is_in_the_report() -> None:
    assert weeks_of(MONDAY_US + 5, MONDAY_US + 5 + WEEK_US) == (MONDAY_US, MONDAY_US + WEEK_US)
    assert weeks_of(MONDAY_US, MONDAY_US + WEEK_US) == (MONDAY_US,)
