"""A run: its numbers, its file, its comparison with another and what is required of it."""

import json
from pathlib import Path

import msgspec
import pytest

from millrace.errors import InputRejected
from millrace.evaluation.measures import Requirement, measure_named, requirement
from millrace.evaluation.run import document, evaluate, load_run
from tests.millrace.evaluation.evaluations import judgement, run_of, unanswerable

RUN = run_of(
    judgement("a", True, quotes=(True,), latency_ms=10.0, signal=0.9, stages_ms={"read": 2.0}),
    judgement("b", False, True, quotes=(False, True), latency_ms=20.0, signal=0.8, stages_ms={"read": 4.0}),
    judgement("c", False, status="not_found", latency_ms=30.0, signal=0.5),
    judgement("d", status="failed", error="deadline_exceeded: too late", signal=None),
    unanswerable("e", refused=True, signal=0.6),
    missing=("z.md",),
)


def test_the_document_holds_the_measures_by_section() -> None:
    found = json.loads(json.dumps(document(evaluate(RUN))))
    assert (found["n"], found["n_failed"], found["n_unanswerable"]) == (5, 1, 1)
    assert found["retrieval"] == {
        "recall@1": 0.25, "recall@5": 0.5, "recall@10": 0.5, "mrr": 0.375, "ndcg@10": 0.407732,
    }  # fmt: skip
    answers = found["answers"]
    assert (answers["sentence_top1"], answers["sentence_top3"]) == (0.25, 0.5)
    assert (answers["refused_answerable"], answers["refused_unanswerable"]) == (pytest.approx(1 / 3), 1.0)
    assert answers["no_answer_auroc"] == pytest.approx(2 / 3)
    assert found["latency_ms"]["total"]["p50"] == 15.0
    assert found["latency_ms"]["read"]["p50"] == 3.0
    assert found["cost"] == {"usd_per_question": 0.0, "usd": 0.0}
    assert found["intervals"]["recall@5"].keys() == {"value", "low", "high", "n"}
    assert found["intervals"]["recall@5"]["n"] == 4
    assert found["errors"] == {"deadline_exceeded": 1}


def test_what_was_not_measured_is_null() -> None:
    answers = document(evaluate(run_of(judgement("a", True))))["answers"]
    assert answers["refused_unanswerable"] is None
    assert answers["no_answer_auroc"] is None


def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(msgspec.json.encode(document(evaluate(RUN))))
    assert load_run(path) == RUN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "found None"),
        ('{"format": 99}', "found 99"),
        ("{", "holds no run"),
        ("", "no run"),
        ("[" * 20_000, "recursion"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputRejected, match=message):
        load_run(path)
    with pytest.raises(InputRejected, match="holds no run"):
        load_run(tmp_path / "missing.json")


def test_runs_are_compared_on_the_questions_that_both_asked() -> None:
    better = run_of(judgement("b", True), judgement("a", True), judgement("new", False))
    found = document(evaluate(better, RUN))["against"]
    assert found["differences"]["recall@1"]["value"] == 0.5
    assert found["differences"]["recall@1"]["n"] == 2
    assert found["differences"]["p50"]["value"] == -5.0
    assert "refused_unanswerable" not in found["differences"]
    with pytest.raises(InputRejected, match="share no question"):
        evaluate(run_of(judgement("other", True)), RUN)


def test_a_question_that_has_a_say_in_one_run_alone_makes_no_difference() -> None:
    one = run_of(judgement("a", True), judgement("b", False), judgement("c", False))
    removed = unanswerable("c", refused=True, signal=0.1)
    other = run_of(judgement("a", True), judgement("b", status="failed", signal=None), removed)
    found = document(evaluate(one, other))["against"]["differences"]
    assert (found["recall@1"]["value"], found["recall@1"]["n"]) == (0, 2)
    assert (found["p50"]["value"], found["p50"]["n"]) == (0, 2)
    assert "no_answer_auroc" not in found


def test_a_requirement_is_a_least_or_a_most() -> None:
    results = evaluate(RUN, requirements=[requirement("r@5=0.5"), requirement("recall@1=0.3"), requirement("p50=15")])
    assert [each.name for each in results.unmet] == ["recall@1"]
    assert [each["relation"] for each in document(results)["requirements"]] == [">=", ">=", "<="]
    assert [each["met"] for each in document(results)["requirements"]] == [True, False, True]


def test_a_requirement_on_what_was_not_measured_is_missed() -> None:
    results = evaluate(run_of(judgement("a", True)), requirements=[Requirement("no_answer_auroc", 0.1)])
    assert results.unmet


@pytest.mark.parametrize("text", ["recall@5", "recall@5=", "recall@5=x", "recall@5=nan", "recall@7=0.5"])
def test_a_requirement_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputRejected):
        requirement(text)


def test_short_names_mean_measures() -> None:
    assert [measure_named(name).name for name in ("R@1", "r@10", "auroc", "ndcg", "p95")] == [
        "recall@1", "recall@10", "no_answer_auroc", "ndcg@10", "p95",
    ]  # fmt: skip


def test_the_worst_questions_leave_out_the_right_ones() -> None:
    assert [each.id for each in RUN.worst(10)] == ["d", "c", "b"]
    assert [each.id for each in RUN.worst(1)] == ["d"]
