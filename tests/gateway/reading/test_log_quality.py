"""Laws about how far back quality is reported: whole days, no more than are known, and it says where they begin."""

from __future__ import annotations

from gateway.reading.log_quality import LogQuality
from gateway.reviewing import MAX_DAYS
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import QualityScored
from millrace.topics import DAY_MS
from streams.visibility.outcomes_of_answers import OutcomeLog
from tests.builders import with_meta
from tests.gateway.reading.conftest import ANN

CONNECTION = {"bootstrap_servers": "127.0.0.1:1"}
TODAY = 20_000
NOW_S = (TODAY + 0.5) * DAY_MS / 1000


def scored(log: OutcomeLog, correlation: str, day: float, *, tenant: str = "acme", revision: int = 1) -> None:
    event = QualityScored(
        tenant=tenant, conversation="c", correlation=correlation, revision=revision, score=1.0 / revision,
        poor=revision > 1, asked="Where?",
    )  # fmt: skip
    log.keep(with_meta(event), round(day * DAY_MS), 100)


async def test_days_begin_where_the_log_is_sure_to_be_whole_and_end_today() -> None:
    log = OutcomeLog(CONNECTION)
    for n in range(40):
        scored(log, f"q{n}", TODAY - n)
    found = await LogQuality(log, lambda: NOW_S).report(ANN, days=90)
    assert [day.at_ms // DAY_MS for day in found.days] == list(range(TODAY - MAX_DAYS + 1, TODAY + 1))
    assert found.since_ms == 0


async def test_a_day_whose_only_score_moved_away_is_left_out() -> None:
    log = OutcomeLog(CONNECTION)
    scored(log, "q", TODAY)
    scored(log, "q", TODAY - 1, revision=2)
    [day] = (await LogQuality(log, lambda: NOW_S).report(ANN)).days
    assert (day.at_ms, day.n, day.n_poor, day.score) == ((TODAY - 1) * DAY_MS, 1, 1, 0.5)


async def test_of_a_tenant_that_was_forgotten_whole_days_are_shown_and_since_when() -> None:
    log = OutcomeLog(CONNECTION, max_kept=4)
    quality = LogQuality(log, lambda: NOW_S)
    scored(log, "q0", TODAY - 3.5)
    assert len((await quality.report(ANN)).days) == 1, "the control"
    for n in range(4):
        scored(log, f"q{n}", TODAY - 3.5, tenant="busy")
    nothing = await quality.report(ANN)
    assert (nothing.days, nothing.since_ms) == ((), round((TODAY - 3.5) * DAY_MS))
    for n, back in enumerate((3.25, 2.0, 1.0)):
        scored(log, f"later{n}", TODAY - back)
    found = await quality.report(ANN)
    assert [day.at_ms // DAY_MS for day in found.days] == [TODAY - 2, TODAY - 1]
    assert found.since_ms == nothing.since_ms
    assert (await quality.report(ANN, days=2)).since_ms == 0, "the days asked for are whole"


async def test_feedback_of_one_person_is_counted_once_of_an_answer_and_kind() -> None:
    log = OutcomeLog(CONNECTION)
    for n in range(9):
        event = FeedbackGiven(tenant="acme", conversation="c", correlation="q", kind="up", user="ann")
        log.keep(with_meta(event, id=f"click-{n}"), TODAY * DAY_MS, 100)
    [day] = (await LogQuality(log, lambda: NOW_S).report(ANN)).days
    assert day.feedback == {"up": 1}
