"""Streams of questions that change somewhere, made of questions that were asked once."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

import msgspec

from bench.drift.answers import BASE, PLAIN, RESTRICTED, Answers, Asked

N_AFTER = 400
"""Questions after a change at most."""


class Stream(msgspec.Struct, frozen=True):
    """Questions in an order, and how many come before the change."""

    before: list[Asked]
    after: list[Asked]


Make = Callable[[Answers, random.Random], Stream]


def bursts(asked: Sequence[Asked], rng: random.Random) -> list[Asked]:
    """Topic after topic, in an order of its own; within a topic in another one."""
    topics = sorted({each.topic for each in asked})
    rng.shuffle(topics)
    of_topic = {topic: [each for each in asked if each.topic == topic] for topic in topics}
    for questions in of_topic.values():
        rng.shuffle(questions)
    return list(chain.from_iterable(of_topic[topic] for topic in topics))


def whole(to: str) -> Make:
    """All traffic goes to another set."""
    return lambda answers, rng: Stream(bursts(answers[BASE], rng), bursts(answers[to], rng)[:N_AFTER])


def partly(to: str, share: Callable[[int], float]) -> Make:
    """A share of the traffic goes to another set; `share` gets the number of questions since the change began."""

    def make(answers: Answers, rng: random.Random) -> Stream:
        before = bursts(answers[BASE], rng)
        same, other = _endless(answers[BASE], rng), _endless(answers[to], rng)
        return Stream(before, [next(other if rng.random() < share(i) else same) for i in range(N_AFTER)])

    return make


def articles(answers: Answers, rng: random.Random) -> Stream:
    """One half of the articles, then the other: other subjects, asked and written about in the same way."""
    one, other = halves(answers[BASE], rng)
    return Stream(bursts(one, rng), bursts(other, rng))


def same(answers: Answers, rng: random.Random) -> Stream:
    """Four times the same questions in other orders: nothing changes."""
    return Stream([each for _ in range(4) for each in bursts(answers[BASE], rng)], [])


def halves(asked: Sequence[Asked], rng: random.Random) -> tuple[list[Asked], list[Asked]]:
    """Questions of half of the topics, and those of the others."""
    topics = sorted({each.topic for each in asked})
    chosen = set(rng.sample(topics, len(topics) // 2))
    return [each for each in asked if each.topic in chosen], [each for each in asked if each.topic not in chosen]


def _endless(asked: Sequence[Asked], rng: random.Random) -> Iterator[Asked]:
    return chain.from_iterable(bursts(asked, rng) for _ in repeat(None))


STREAMS: dict[str, Make] = {
    "all traffic to PolicyQA": whole(PLAIN),
    "all traffic to PolicyQA, each question restricted to its policy": whole(RESTRICTED),
    "half of the traffic to PolicyQA": partly(PLAIN, lambda _: 0.5),
    "half of the traffic to PolicyQA, restricted": partly(RESTRICTED, lambda _: 0.5),
    "a quarter of the traffic to PolicyQA": partly(PLAIN, lambda _: 0.25),
    "slowly to PolicyQA, all of it after 400 questions": partly(PLAIN, lambda i: i / N_AFTER),
    "half of the articles, then the others": articles,
    "the same articles four times over": same,
}
REQUIRED = tuple(STREAMS)[:2]
