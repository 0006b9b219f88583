"""What is shown of drift is what the log says, each event once."""

from __future__ import annotations

import json

import pytest

from millrace.cli.drift import sparkline
from millrace.connection import Connection
from millrace.drift import drift_of, read_drift
from millrace.events.learn import DriftDetected, DriftScored, OffsetRange, TrainingRequested
from millrace.sync_client import Client
from tests.builders import with_meta
from tests.millrace.workers import Run

RANGES = (OffsetRange("query.answer.produced.v1", 1, 40, 90),)


def scored(tenant: str, window: int, mean: float) -> DriftScored:
    return with_meta(
        DriftScored(
            tenant=tenant, signal="score_gap", window=window, n=50, mean=mean, deviation=0.1, reference_mean=0.7,
            statistic=0.05, threshold=0.1,
        ),
        id=f"{tenant}-window-{window}",
    )  # fmt: skip


def detected(tenant: str) -> DriftDetected:
    return with_meta(
        DriftDetected(
            tenant=tenant, signal="score_gap", n_seen=640, n_since=41, before=0.7, after=0.31, statistic=0.39,
            threshold=0.2, ranges=RANGES,
        ),
        id=f"{tenant}-change",
    )  # fmt: skip


def requested(tenant: str) -> TrainingRequested:
    event = TrainingRequested(
        tenant=tenant, model="reader", base="", reason="drift", cause=f"{tenant}-change", ranges=RANGES
    )
    return with_meta(event, id=f"{tenant}-request")


def test_windows_are_in_order_and_what_was_written_twice_or_of_others_counts_not() -> None:
    events = [scored("acme", 1, 0.6), scored("acme", 0, 0.7), detected("acme"), requested("acme")]
    found = drift_of("acme", [*events, *events, scored("other", 2, 0.1), detected("other")])
    (signal,) = found.signals
    assert [window.window for window in signal.windows] == [0, 1]
    assert [(change.n_seen, change.n_since) for change in signal.changes] == [(640, 41)]
    assert [(request.signal, request.ranges) for request in found.requests] == [("score_gap", RANGES)]


def test_a_line_of_bars_goes_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert sparkline([3.0, 3.0]) == "▁▁"


def test_drift_is_shown_to_people_and_to_programs(run: Run, embedded: Connection, tenant: str) -> None:
    with Client(embedded) as client:
        for event in (scored(tenant, 0, 0.7), scored(tenant, 1, 0.3), detected(tenant), requested(tenant)):
            client.produce(event)
    code, out, err = run("drift", "--tenant", tenant)
    assert (code, err) == (0, "")
    assert "█▁" in out
    assert "50%" in out
    assert "score_gap changed from 0.7 to 0.31, about 41 values before its 640th" in out
    assert "training of reader requested, drift of score_gap: query.answer.produced.v1/1 40-89" in out
    code, out, _ = run("drift", "--tenant", tenant, "--json")
    found = json.loads(out)
    assert (code, found["tenant"], found["requests"][0]["signal"]) == (0, tenant, "score_gap")
    assert [window["mean"] for window in found["signals"][0]["windows"]] == pytest.approx([0.7, 0.3])


def test_how_far_the_log_was_read_is_told(embedded: Connection, tenant: str) -> None:
    with Client(embedded) as client:
        client.produce(scored(tenant, 0, 0.7))
    told: list[tuple[int, int]] = []
    found = read_drift(embedded, tenant, progress=lambda n, of: told.append((n, of)))
    assert len(found.signals) == 1
    assert told[-1][0] >= 1
    assert told[-1][0] <= told[-1][1]


def test_a_tenant_without_traffic_is_told_so(run: Run, tenant: str) -> None:
    code, out, _ = run("drift", "--tenant", tenant)
    assert (code, "no signal has filled a window yet" in out) == (0, True)
