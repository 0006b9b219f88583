"""What one answer is worth."""

import pytest

from millrace.evaluation.gold import fixed_gold
from millrace.evaluation.judging import judge, unjudged
from millrace.evaluation.questions import KnownQuestion
from tests.millrace.evaluation.evaluations import TENANT, answer, judgement, unanswerable, version

GOLD = fixed_gold([version("a.md", (0, 10), (10, 20)), version("b.md", (0, 50))])
QUESTION = KnownQuestion(id="q1", question="When?", doc="a.md", answers=("at six",), spans=((12, 18),))


def test_an_answer_is_judged_by_the_places_of_right_chunks_and_quotes() -> None:
    came = answer("b.md:0", "a.md:1", "a.md:0", quotes=(("b.md", 12, 18), ("a.md", 15, 20)), text="Opens at six.")
    found = judge(QUESTION, TENANT, came, GOLD)
    assert [chunk.right for chunk in found.chunks] == [False, True, False]
    assert [quote.right for quote in found.quotes] == [False, True]
    assert found.values == pytest.approx(
        {
            "recall@1": 0, "recall@5": 1, "recall@10": 1, "mrr": 0.5, "ndcg@10": 0.63093,
            "sentence_top1": 0, "sentence_top3": 1, "f1": 0.8, "em": 0,
            "refused_answerable": 0, "latency_ms": 20, "cost_usd": 0,
        },
        abs=1e-5,
    )  # fmt: skip


def test_the_same_document_of_another_tenant_is_not_right() -> None:
    found = judge(QUESTION, "other", answer("a.md:1"), GOLD)
    assert (found.n_right, found.right_places) == (0, ())


def test_a_refusal_is_right_where_nothing_answers_and_wrong_where_something_does() -> None:
    nothing = KnownQuestion(id="q2", question="Why?", answers=())
    refused = judge(nothing, TENANT, answer("a.md:0", found=False), GOLD)
    assert refused.values == {"refused_unanswerable": 1, "latency_ms": 20, "cost_usd": 0}
    assert judge(nothing, TENANT, answer("a.md:0"), GOLD).values["refused_unanswerable"] == 0
    values = judge(QUESTION, TENANT, answer("a.md:1", found=False), GOLD).values
    assert (values["refused_answerable"], values["recall@1"], values["sentence_top3"]) == (1, 1, 0)


def test_a_question_of_which_nothing_is_known_has_a_say_in_time_and_cost_alone() -> None:
    found = judge(KnownQuestion(question="Why?"), TENANT, answer("a.md:0"), GOLD)
    assert found.values.keys() == {"latency_ms", "cost_usd"}


def test_a_question_that_failed_was_not_found_and_has_no_time() -> None:
    values = unjudged(QUESTION, TENANT, "deadline_exceeded: too late").values
    assert (values["recall@10"], values["sentence_top3"], values["f1"]) == (0, 0, 0)
    assert not {"latency_ms", "refused_answerable"} & values.keys()


def test_the_worst_come_first_and_what_is_right_is_not_bad() -> None:
    ordered = [
        unjudged(QUESTION, TENANT, "failed"),
        judgement("refused", True, status="not_found"),
        unanswerable("made up", refused=False, signal=0.9),
        judgement("not found", False),
        judgement("found late", False, True, quotes=(False, True)),
        judgement("quoted late", True, quotes=(False, True)),
    ]
    shuffled = [ordered[i] for i in (3, 0, 5, 1, 4, 2)]
    assert [each.id for each in sorted(shuffled, key=lambda each: each.badness, reverse=True)] == [
        "q1", "made up", "refused", "not found", "found late", "quoted late",
    ]  # fmt: skip
    right = [judgement("right", True, quotes=(True,)), unanswerable("refused", refused=True, signal=0.4)]
    assert not any(any(each.badness) for each in right)
