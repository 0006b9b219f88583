"""Topics from week to week: a question belongs to a topic of before if it is as near to it as its own questions are.

Weeks are taken in their order. Of each, what is near to a topic that is known already joins it; the rest, with what
stayed apart in the weeks before, is grouped, and groups become new topics. So a question keeps its topic whatever comes
later, and a trend is one of the same topic; only what stayed apart may still find one. A topic keeps its id and name
from report to report when it is handed to the next one.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np

from millrace.analytics.clusters import APART, MOST, Labels, Vectors, centre, cluster

_FLOOR: Final = 0.35
"""No question joins a topic with a lower cosine to its centre, however scattered the topic is."""
_ROUNDS: Final = 5


class Known(msgspec.Struct):
    """A topic that questions can join.

    Attributes
    ----------
    id : str
        Derived from its first centre.
    centre : float32 array of shape (d,)
        L2-normalised.
    reach : float
        Least cosine to the centre that a question of it has.
    name : str
        Its name in the report before; empty for a new one.
    """

    id: str
    centre: Vectors
    reach: float
    name: str = ""


class Followed:
    """Finds the topics of week after week.

    Parameters
    ----------
    known : iterable of Known
        Topics of the report before.
    """

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self.topics: list[Known] = list(known)

    def weeks(self, weeks: Sequence[Vectors]) -> list[Labels]:
        """Topic of each question.

        Parameters
        ----------
        weeks : sequence of float32 arrays of shape (n, d)
            Question vectors of each week, L2-normalised, oldest week first.

        Returns
        -------
        list of int64 arrays of shape (n,)
            Indices into `topics`; `APART` for those in none.
        """
        found = [np.full(len(week), APART, dtype=np.int64) for week in weeks]
        for number, week in enumerate(weeks):
            if not len(week):
                continue
            found[number] = self._nearest(week)
            # What stayed apart before may be the beginning of something that shows now.
            rest = [(w, i) for w in range(number + 1) for i in np.flatnonzero(found[w] == APART)]
            vectors = np.stack([weeks[w][i] for w, i in rest]) if rest else week[:0]
            for (w, i), topic in zip(rest, self._grow(vectors), strict=True):
                found[w][i] = topic
        return found

    def _nearest(self, vectors: Vectors, since: int = 0) -> Labels:
        topics = self.topics[since:]
        if not topics or not len(vectors):
            return np.full(len(vectors), APART, dtype=np.int64)
        cosines = vectors @ np.stack([topic.centre for topic in topics]).T
        best = cosines.argmax(axis=1)
        near = cosines[np.arange(len(vectors)), best] >= np.array([topic.reach for topic in topics])[best]
        return np.where(near, best + since, APART).astype(np.int64)

    def _grow(self, vectors: Vectors) -> Labels:
        """Make topics of what joined none; more than can be grouped at once is taken in parts, spread over all."""
        found = np.full(len(vectors), APART, dtype=np.int64)
        for _ in range(_ROUNDS):
            rest = np.flatnonzero(found == APART)
            at, inverse, counts = _distinct(vectors[rest])
            part = np.linspace(0, len(at) - 1, min(MOST, len(at))).astype(np.int64)
            members = vectors[rest[at[part]]]
            groups, cut = cluster(members, counts[part])
            first = len(self.topics)
            self.topics += [_topic(members[groups == group], cut) for group in range(groups.max(initial=APART) + 1)]
            if len(self.topics) == first:
                break
            topics = self._nearest(vectors[rest[at]], first)
            topics[part] = np.where(groups == APART, APART, groups + first)
            found[rest] = topics[inverse]
            if len(at) <= MOST:
                break
        return found


def _distinct(vectors: Vectors) -> tuple[Labels, Labels, Labels]:
    """Places of vectors that differ, which of these each vector equals, and how often each is there."""
    rows = np.ascontiguousarray(vectors)
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, at, inverse, counts = np.unique(whole, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(at)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return at[order], place[inverse], counts[order]


def _topic(members: Vectors, cut: float) -> Known:
    mean = members.mean(axis=0)
    length = max(float(np.linalg.norm(mean)), 1e-12)
    middle = centre(members)
    # As near on average to the topic's questions as they had to be to be joined: q.mean >= 1 - cut.
    reach = min(1.0, max(_FLOOR, (1.0 - cut) / length))
    name = blake2b(np.round(middle, 3).astype("<f4").tobytes(), digest_size=6).hexdigest()
    return Known(name, middle, reach)


__all__ = ["APART", "Followed", "Known"]
