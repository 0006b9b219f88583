"""Laws about grouping questions, and about following the groups from week to week."""

from __future__ import annotations

import numpy as np
import pytest

from millrace.analytics import topics as followed_topics
from millrace.analytics.clusters import APART, MOST, cluster
from millrace.analytics.topics import Followed
from tests.millrace.analytics.traffic import directions, near


def ones(n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.ones(n, dtype=np.int64)


def test_planted_groups_are_found_and_the_same_each_time() -> None:
    vectors = np.concatenate([near(each, 10 + n, seed=n) for n, each in enumerate(directions(4))])
    labels, _ = cluster(vectors, ones(len(vectors)))
    assert [set(part) for part in np.split(labels, [10, 21, 33])] == [{3}, {2}, {1}, {0}]
    assert (cluster(vectors, ones(len(vectors)))[0] == labels).all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_a_handful_of_questions_that_have_nothing_in_common_stays_apart(n: int) -> None:
    labels, _ = cluster(directions(5)[:n], ones(n))
    assert set(labels) <= {APART}


def test_one_question_that_many_ask_is_a_topic() -> None:
    (labels,) = Followed().weeks([np.repeat(directions(2), [6, 1], axis=0)])
    assert list(labels) == [0] * 6 + [APART]


def test_a_group_with_most_of_the_questions_is_divided() -> None:
    middle, one, other, third = directions(4)
    near_each_other = [near(middle + 1.2 * each, 20, seed=n) for n, each in enumerate((one, other, third))]
    labels, _ = cluster(np.concatenate(near_each_other), ones(60))
    assert len(set(labels)) == 3


def test_a_topic_goes_on_in_later_weeks_and_a_new_one_gets_a_number_of_its_own() -> None:
    a, b, c = directions(3)
    weeks = [
        np.concatenate([near(a, 8, 1), near(b, 6, 2)]),
        np.concatenate([near(b, 9, 3), near(c, 7, 4)]),
        np.concatenate([near(a, 4, 5), near(c, 3, 6)]),
    ]
    followed = Followed()
    first, second, third = followed.weeks(weeks)
    assert [list(first), list(second), list(third)] == [[0] * 8 + [1] * 6, [1] * 9 + [2] * 7, [0] * 4 + [2] * 3]
    alone = Followed().weeks(weeks[:2])
    assert [list(week) for week in alone] == [list(first), list(second)]  # what comes later moves nothing


def test_what_stayed_apart_can_be_the_beginning_of_a_topic() -> None:
    a, b = directions(2)
    first, second = Followed().weeks([np.concatenate([near(a, 8, 1), near(b, 1, 2)]), near(b, 4, 3)])
    assert first[8] == second[0] == 1


def test_a_topic_handed_on_keeps_its_id() -> None:
    a, b = directions(2)
    before = Followed()
    before.weeks([np.concatenate([near(a, 8, 1), near(b, 6, 2)])])
    after = Followed(before.topics)
    (labels,) = after.weeks([near(b, 5, 3)])
    assert [after.topics[topic].id for topic in set(labels)] == [before.topics[1].id]
    assert Followed().weeks([near(b, 5, 3)])[0][0] == 0  # a topic of its own where nothing is handed on


def test_more_questions_than_can_be_grouped_at_once_are_grouped_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(vectors: np.ndarray, counts: np.ndarray) -> object:
        sizes.append(len(vectors))
        return cluster(vectors, counts)

    monkeypatch.setattr(followed_topics, "cluster", counted)
    monkeypatch.setattr(followed_topics, "MOST", 60)
    vectors = np.concatenate([near(each, 500, seed=n) for n, each in enumerate(directions(4))])
    (labels,) = Followed().weeks([vectors])
    assert max(sizes) == 60 < MOST
    assert len({int(label) for label in labels} - {APART}) == 4
    assert (labels == APART).mean() < 0.05
