"""Laws about pairs of answers: what counts as the same, as better, and as not comparable."""

import re
from pathlib import Path

import msgspec
import pytest

from millrace.evaluation.replay_report import write_replay
from millrace.evaluation.replayed import Pair, Quoted, Replay, Side, document, grounded, judged, measured

HOSTILE = "<script>alert(1)</script>"


def side(text: str = "The fee is 140 crowns.", *, chunks: tuple[str, ...] = ("a", "b"), **fields: object) -> Side:
    """An answer that quotes itself from its first chunk."""
    quotes = (Quoted("d.md", chunks[0], 0, len(text), text),) if text and chunks else ()
    found = Side(status="answered" if text else "not_found", text=text, chunks=chunks, quotes=quotes, confidence=0.8)
    return msgspec.structs.replace(found, **fields)


def pair(then: Side | None, now: Side | None, **fields: object) -> Pair:
    """A judged pair."""
    known = Pair(correlation="c", tenant="t", question="What is the fee?", then=then, now=now)
    return judged(msgspec.structs.replace(known, **fields))


def replay_of(*pairs: Pair, **fields: object) -> Replay:
    known = Replay(made_at="2026-01-01T00:00:00Z", context="at_watermark", asked="beginning to now", pairs=pairs)
    return msgspec.structs.replace(known, **fields)


def test_identical_is_the_same_text_from_the_same_passages_and_chunks() -> None:
    assert pair(side(), side()).verdict == "identical"
    assert pair(side(), side(chunks=("a", "c"))).verdict == "changed"
    assert pair(side(), side("The fee is 150 crowns.")).verdict == "changed"
    assert pair(side(), side(ms={"read": 9.0}, cost_usd=1.0)).verdict == "identical"


def test_a_change_is_better_or_worse_only_where_something_says_what_is_right() -> None:
    new = side("The fee is 150 crowns.")
    assert pair(side(), new, correction="150 crowns").verdict == "better"
    assert pair(new, side(), correction="150 crowns").verdict == "worse"
    assert pair(side(), side(""), feedback=1.0).verdict == "worse"
    assert pair(side(), side("Bring a helmet and the key."), feedback=1.0).verdict == "worse"
    assert pair(side(), new, feedback=1.0).verdict == "changed"  # most of what was praised is still said
    assert pair(side(), new, feedback=-1.0).verdict == "changed"  # it was wrong; whether this is right, nobody says
    assert pair(side("", status="failed"), new).verdict == "better"
    assert pair(side(), side("", status="failed")).verdict == "worse"


def test_what_is_incomplete_is_counted_with_its_reason_and_in_no_measure() -> None:
    gone = Pair(correlation="x", tenant="t", question="?", then=side(), incomplete="rows_gone", detail="2 chunks")
    found = replay_of(pair(side(), side()), gone)
    result = document(found)
    assert (result["n"], result["n_compared"], result["n_incomplete"]) == (2, 1, 1)
    assert result["incomplete"] == {"rows_gone": 1}
    assert result["agreement"]["same_chunks"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}
    assert judged(msgspec.structs.replace(gone, now=side())).verdict == "changed"  # never better, never identical


def test_differences_pair_the_questions_and_take_the_stages_that_both_ran() -> None:
    fast, slow = {"retrieve": 5.0, "read": 1.0}, {"retrieve": 25.0, "read": 2.0, "guard": 7.0}
    found = replay_of(*(pair(side(ms=slow), side("" if n < 5 else "The fee.", ms=fast)) for n in range(10)))
    differences = {each.measure.name: each.found for each in measured(found).differences}
    answered, p50 = differences["answered"], differences["p50"]
    assert answered is not None
    assert p50 is not None
    assert answered.value == pytest.approx(-0.5)
    assert answered.low < answered.value < answered.high < 0
    assert p50.value == pytest.approx(-21.0)
    recorded = measured(msgspec.structs.replace(found, context="recorded")).differences
    assert {each.measure.name: each.found for each in recorded}["p50"].value == pytest.approx(-1.0)  # type: ignore[union-attr]


def test_how_far_the_chunks_agree_is_said_only_where_they_were_searched_for() -> None:
    found = replay_of(pair(side(), side("The fee is 150 crowns.")))
    of_chunks = {"same_chunks", "same_first_chunk", "chunk_overlap"}
    searched = document(found)["agreement"]
    handed_back = document(msgspec.structs.replace(found, context="recorded"))["agreement"]
    assert of_chunks < searched.keys()
    assert searched.keys() - handed_back.keys() == of_chunks
    assert handed_back == {name: each for name, each in searched.items() if name not in of_chunks}


def test_words_that_no_quote_holds_are_not_grounded() -> None:
    assert grounded(side()) == 1.0
    assert grounded(side(quotes=())) == 0.0
    assert grounded(side("fee fee", quotes=(Quoted("d", "a", 0, 3, "The fee"),))) == 0.5


def test_the_report_says_what_was_changed_what_differs_and_what_is_not_compared(tmp_path: Path) -> None:
    gone = Pair(correlation="x", tenant="t", question="?", then=side(), incomplete="log_truncated", detail=HOSTILE)
    pairs = (pair(side(), side("")), pair(side(), side(), question=HOSTILE), gone)
    found = replay_of(*pairs, changed={"query.dense_weight": ("0.6", "0.5")}, notes=(HOSTILE,))
    path = tmp_path / "new" / "replay.html"
    write_replay(found, path)
    page = path.read_text()
    assert "query.dense_weight" in page
    assert "log_truncated" in page
    assert page.count("<img ") == len(re.findall(r'src="data:image/svg\+xml;base64,', page)) >= 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_nothing_compared_is_a_report_too(tmp_path: Path) -> None:
    gone = Pair(correlation="x", tenant="t", question="?", incomplete="no_answer")
    found = replay_of(gone)
    write_replay(found, tmp_path / "replay.html")
    assert document(found)["agreement"] == {}
