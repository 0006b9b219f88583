"""Questions for tests of analytics: about planted subjects, with vectors near their subject's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from millrace.analytics.questions import WEEK_US, Asked, week_of

MONDAY_US = week_of(1_780_000_000_000_000)
DIM = 48
SUBJECTS = {
    "leave": "How long is parental leave in the {} department?",
    "travel": "Which hotel expenses are refunded on a trip to {}?",
    "badge": "Where do I renew my broken entrance badge in {}?",
    "pension": "Who pays the pension contribution of {} workers?",
}
PLACES = ("Oslo", "Turin", "Lima", "Quito", "Bergen", "Porto", "Kyoto", "Dakar", "Perth", "Basel", "Leeds", "Minsk")


def directions(n: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Unit vectors at right angles to each other."""
    found, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM, DIM)))
    return found[:n].astype(np.float32)


def near(direction: npt.NDArray[np.float32], n: int, seed: int = 0, spread: float = 0.11) -> npt.NDArray[np.float32]:
    """Unit vectors around a direction, all different."""
    found = direction + np.random.default_rng(seed).normal(scale=spread, size=(n, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def about(
    subject: str, n: int, *, week: int = 0, status: str = "answered", people: int = 0, **fields: object
) -> list[Asked]:
    """Questions about a subject in a week, each of another person unless `people` says how many ask."""
    number = list(SUBJECTS).index(subject)
    vectors = near(directions(len(SUBJECTS))[number], n, seed=100 * week + number)
    return [
        Asked(
            tenant="acme",
            at_us=MONDAY_US + week * WEEK_US + i * 1_000_000,
            user=f"user-{i % (people or n)}",
            conversation=f"c{i}",
            text=SUBJECTS[subject].format(PLACES[i % len(PLACES)]),
            vector=vectors[i].astype("<f4").tobytes(),
            model="m",
            status=status,
            **fields,  # type: ignore[arg-type]  # checked where it is built
        )
        for i in range(n)
    ]


def weeks(n: int) -> tuple[int, ...]:
    return tuple(MONDAY_US + week * WEEK_US for week in range(n))
