"""Laws about what is known of the quality of answers: counted by day, by the last revision, within a bound."""

from __future__ import annotations

from typing import Any

import msgspec

from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import DriftDetected, OffsetRange, QualityScored, StageAttributed
from millrace.events.query import Citation, Hit
from millrace.topics import DAY_MS, QUALITY_SCORED
from streams.visibility.outcome_days import KEPT_DAYS, OTHERS, Day
from streams.visibility.outcomes_of_answers import KEEP_S, OutcomeLog, TenantOutcomes
from tests.builders import with_meta

CONNECTION = {"bootstrap_servers": "127.0.0.1:1"}
BIG = "x" * 20_000


def whose(correlation: str = "q", tenant: str = "acme") -> dict[str, Any]:
    return {"tenant": tenant, "conversation": "c", "correlation": correlation}


def scored(correlation: str = "q", *, revision: int = 1, score: float = 1.0, **fields: Any) -> QualityScored:
    found: dict[str, Any] = {**whose(correlation), "revision": revision, "score": score, "poor": score < 0.5} | fields
    return with_meta(QualityScored(**found))


def attributed(
    correlation: str = "q", *, revision: int = 1, stage: Any = "reading", document: str = ""
) -> StageAttributed:
    return with_meta(
        StageAttributed(**whose(correlation), revision=revision, stage=stage, rule=f"r{revision}", document=document)
    )


def said(n: int, kind: Any = "up", *, user: str = "ann", correlation: str = "q") -> FeedbackGiven:
    return with_meta(FeedbackGiven(**whose(correlation), kind=kind, user=user), id=f"click-{n}")


def days_of(found: TenantOutcomes) -> dict[int, Day]:
    return {at_ms // DAY_MS: day for at_ms, day in found.days.since(0)}


def test_of_an_answer_the_highest_revision_counts_at_the_time_it_was_first_scored() -> None:
    log = OutcomeLog(CONNECTION)
    for at_ms, revision in ((10, 1), (DAY_MS, 3), (30, 2)):
        log.keep(scored(revision=revision, score=revision / 10), at_ms, 100)
        log.keep(attributed(revision=revision), at_ms, 100)
    found = log.of_tenant("acme")
    assert (found.scores["q"].at_ms, found.scores["q"].score) == (10, 0.3)
    assert found.stages["q"].rule == "r3"
    assert not log.of_tenant("evil").scores


def test_a_later_revision_is_counted_in_place_of_the_earlier_one_on_the_day_of_the_first() -> None:
    log = OutcomeLog(CONNECTION)
    log.keep(scored("q", score=0.75), 10, 100)
    log.keep(scored("other", score=0.5), 20, 100)
    log.keep(attributed("q", stage="ranking", document="a/b.md"), 30, 100)
    for _ in range(2):
        log.keep(scored("q", revision=2, score=0.25), DAY_MS + 10, 100)
        log.keep(attributed("q", revision=2, stage="reading", document="c/d.md"), DAY_MS + 10, 100)
    found = days_of(log.of_tenant("acme"))
    assert (found[0].n, found[0].n_poor, found[0].total) == (2, 1, 0.75)
    assert (+found[0].stages, +found[0].folders) == ({"reading": 1}, {"c: reading": 1})
    assert all(day.n == day.stages.total() == 0 for at, day in found.items() if at)


def test_days_of_a_busy_tenant_stay_whole_when_its_first_answers_are_forgotten() -> None:
    log = OutcomeLog(CONNECTION)
    good, poor = scored(), scored(score=0.0)
    for n in range(6_000):
        log.keep((good if n % 2 else poor).replace(correlation=f"q{n}"), n // 1_000 * DAY_MS, 100)
    log.keep(scored("q0", revision=2, score=0.0), 5 * DAY_MS, 100)
    found = log.of_tenant("acme")
    assert [(day.n, day.n_poor, day.total) for day in days_of(found).values()] == [(1_000, 500, 500.0)] * 6
    assert len(found.scores) < 6_000, "the control: answers were forgotten"


def test_clicks_of_one_person_push_nobody_out_and_count_once_for_an_answer_and_kind() -> None:
    log = OutcomeLog(CONNECTION)
    log.keep(said(0, "down", user="ben"), 1, 100)
    for n in range(1, 5_100):
        log.keep(said(n), DAY_MS, 100)
    log.keep(said(1), DAY_MS, 100)  # read again
    log.keep(said(20_000, correlation="other"), DAY_MS, 100)
    log.keep(said(20_001, user="cem"), DAY_MS, 100)
    found = days_of(log.of_tenant("acme"))
    assert found[0].feedback == {"down": 1}
    assert found[1].feedback == {"up": 3}


def test_what_was_said_is_remembered_within_a_bound_however_much_of_it_is_new() -> None:
    log = OutcomeLog(CONNECTION)
    for n in range(12_000):
        log.keep(said(n, correlation=f"q{n}"), 1, 100)
    found = log.of_tenant("acme")
    assert days_of(found)[0].feedback == {"up": 12_000}
    assert len(found) <= 10_001


def test_no_more_days_are_kept_than_the_log_has_scores_of() -> None:
    assert KEPT_DAYS * DAY_MS == KEEP_S * 1000 == QUALITY_SCORED.retention_ms
    log = OutcomeLog(CONNECTION)
    for day in range(100):
        log.keep(said(day, correlation=f"q{day}"), day * DAY_MS, 100)
    assert list(days_of(log.of_tenant("acme"))) == list(range(99 - KEPT_DAYS, 100))


def test_folders_of_a_day_are_bounded_and_the_rest_is_counted_together() -> None:
    log = OutcomeLog(CONNECTION)
    for n in range(1_000):
        log.keep(attributed(f"q{n}", document=f"f{n}/a.md"), 1, 100)
    for name in ("0", "999"):
        log.keep(attributed(f"q{name}", revision=2, stage="ranking", document=f"f{name}/a.md"), 1, 100)
    day = days_of(log.of_tenant("acme"))[0]
    assert len(day.folders) <= 102
    assert day.folders.total() == 1_000
    assert (day.folders["f0: reading"], day.folders["f1: reading"], day.folders[f"{OTHERS}: ranking"]) == (0, 1, 2)


def test_of_an_answer_only_what_is_shown_is_kept() -> None:
    log = OutcomeLog(CONNECTION)
    large: dict[str, Any] = {
        "answer": BIG, "expected": BIG, "rephrased": BIG, "watermark": BIG, "groups": (BIG,), "labels": {"a": BIG},
        "citations": (Citation("a.md", 1, "c1", "", "", 0, 9, BIG),), "hits": (Hit(BIG, "a.md", 1, 1, 0.9, 0.8, 3.0),),
    }  # fmt: skip
    log.keep(scored("good", question=BIG, asked=BIG, **large), 1, 100)
    log.keep(scored("poor", score=0.1, question=BIG, asked="Where?", user="ann", **large), 1, 100)
    ranges = (OffsetRange(BIG, 0, 0, 9),)
    log.keep(
        with_meta(
            DriftDetected(
                tenant="acme", signal="s", n_seen=1, n_since=1, before=0, after=1, statistic=1, threshold=1,
                ranges=ranges,
            )
        ), 1, 100,
    )  # fmt: skip
    found = log.of_tenant("acme")
    kept = msgspec.json.encode([found.scores, list(found.detections)])
    assert b"Where?" in kept
    assert len(kept) < 1_000


def test_of_too_many_tenants_the_quietest_is_forgotten_and_says_since_when_it_is_known() -> None:
    log = OutcomeLog(CONNECTION, max_kept=30)
    log.keep(scored(tenant="heard"), 4, 100)
    log.keep(scored(tenant="quiet"), 5, 100)
    assert (log.of_tenant("quiet").since_ms, len(log.of_tenant("quiet").scores)) == (0, 1), "the control"
    for n in range(26):
        log.keep(scored(f"q{n}", tenant="busy"), 10 + n, 100)
        log.keep(scored(revision=2 + n, tenant="heard"), 10 + n, 100)
    assert len(log.of_tenant("busy").scores) <= 30
    quiet, heard = log.of_tenant("quiet"), log.of_tenant("heard")
    assert (quiet.since_ms, len(quiet)) == (5, 0)
    assert (heard.since_ms, len(heard.scores)) == (0, 1)
    log.keep(scored("later", tenant="quiet"), 99, 100)
    assert log.of_tenant("quiet").since_ms >= 5
    assert list(log.of_tenant("quiet").scores) == ["later"]


def test_one_tenant_alone_is_not_forgotten_however_little_may_be_kept() -> None:
    log = OutcomeLog(CONNECTION, max_kept=1)
    for n in range(9):
        log.keep(scored(f"q{n}"), 1, 100)
    assert len(log.of_tenant("acme").scores) == 9
