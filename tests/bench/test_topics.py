"""Topics are judged on halves that share nothing."""

from pathlib import Path

import numpy as np
import pytest

from bench.topics import Labelled, agreement, measure, questions
from millrace.analytics.clusters import APART
from tests.millrace.analytics.traffic import directions, near


def test_agreement_is_whole_where_topics_are_the_labels_and_none_where_they_are_chance() -> None:
    labels = ["a"] * 5 + ["b"] * 5
    whole = agreement("x", labels, np.repeat([1, 0], 5))
    assert whole.nmi == pytest.approx(1.0)
    assert (whole.ari, whole.purity, whole.apart) == (1.0, 1.0, 0.0)
    one = agreement("x", labels, np.zeros(10, dtype=np.int64))
    assert (one.ari, one.purity) == (0.0, 0.5)
    assert agreement("x", labels, np.repeat([0, APART], 5)).apart == 0.5


def test_a_subject_that_comes_late_is_noticed() -> None:
    vectors = np.concatenate([near(each, 24, seed=n) for n, each in enumerate(directions(5))])
    asked = [Labelled("xquad", f"question {i}", f"article {i // 24}") for i in range(120)]
    found = measure(asked, vectors, "seen")
    assert (found.n_late, found.n_late_noticed, found.n_moved) == (2, 2, 0)
    assert found.agreements[0].ari == 1.0
    assert len(found.names) == 5


@pytest.mark.shared_data
def test_the_halves_share_no_article_and_no_question() -> None:
    data = Path(__file__).parents[3] / "shared" / "data"
    if not (data / "policyqa").is_dir():
        pytest.skip(f"{data}/policyqa is absent")
    seen, unseen = questions(data, "seen"), questions(data, "unseen")
    assert not {each.question for each in seen} & {each.question for each in unseen}
    articles = [{each.label for each in part if each.corpus == "xquad"} for part in (seen, unseen)]
    assert not articles[0] & articles[1]
    assert len(articles[0] | articles[1]) == 24
