"""Laws about `millrace replay` before it asks anything; what it does with a stack is in tests/system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace.cli.replay import _show, _start, _stop
from millrace.evaluation.replayed import Pair, Replay, Side
from millrace.positions import Since, Until
from millrace.topics import QUERY_RECEIVED
from tests.millrace.workers import Run


@pytest.fixture(autouse=True)
def priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gives way to everything else; the other tests of this process need not."""
    monkeypatch.setattr("os.nice", lambda increment: increment)


@pytest.fixture
def elsewhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The broker as one that settings name; those of the embedded profile name none."""
    monkeypatch.setenv("MILLRACE_PROFILE", "kafka")
    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--context", "recorded", "--now"), "searches nothing"),
        (("--context", "recorded", "--at-watermark"), "searches nothing"),
        (("--to", "beginning"), "leaves no question"),
        (("--from", "yesterday"), "is no position"),
    ],
)
def test_what_means_nothing_is_wrong_usage(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run("replay", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_positions_are_times_ages_or_offsets() -> None:
    assert _start("0=12,3=7") == {(QUERY_RECEIVED.name, 0): 12, (QUERY_RECEIVED.name, 3): 7}
    assert _stop("1=5") == {(QUERY_RECEIVED.name, 1): 5}
    assert (_start("beginning"), _stop("now"), _stop("end")) == ("beginning", "now", "now")
    since, until = _start("2026-01-31T12:00+00:00"), _stop("2026-01-31T12:00+00:00")
    assert isinstance(since, Since)
    assert until == Until(since.timestamp_ms)


def test_what_is_written_shows_questions_so_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    side = Side(status="answered", text="16 weeks")
    pair = Pair(correlation="c", tenant="t", question="How long is my leave?", then=side, now=side, verdict="worse")
    found = Replay(made_at="2026-01-01T00:00:00Z", context="now", asked="beginning to now", pairs=(pair,))
    paths = [tmp_path / "new" / "replay.html", tmp_path / "new" / "replay.json"]
    _show(found, *paths, as_json=True)
    assert all("How long is my leave?" in path.read_text() for path in paths)
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600, 0o600]


def test_an_unknown_setting_is_named_before_anything_is_read(elsewhere: Run) -> None:
    code, out, err = elsewhere("replay", "--set", "query.dense_wight=0.5", "--json")
    assert code == 1
    assert json.loads(out)["error"]["type"] == "configuration"
    assert "query.dense_wight does not exist" in err


def test_a_range_without_questions_is_said_to_be_one(elsewhere: Run, tenant: str) -> None:
    code, _, err = elsewhere("replay", "--tenant", tenant)
    assert code == 1
    assert f"no question of tenant '{tenant}' was asked" in err


def test_the_bare_package_says_what_it_needs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.cli.replay.find_spec", lambda name: None if name == "infra" else object())
    code, _, err = run("replay")
    assert code == 1
    assert "run it in a checkout" in err
