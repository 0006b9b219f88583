"""What is measured, by which statistic, and which way is better."""

from collections.abc import Sequence
from typing import Final

import msgspec

from millrace.errors import InputRejected
from millrace.evaluation.bootstrap import (
    Interval,
    Statistic,
    columns,
    interval,
    mean_of,
    paired_difference,
    percentile_of,
    signal_auroc,
)
from millrace.evaluation.judging import Judgement


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a report.

    Attributes
    ----------
    section, name : str
        Where it stands in the JSON document.
    title : str
        What it is, in words.
    column : str
        The value of each question that it is made of.
    statistic : callable
        How.
    unit : {"share", "ms", "usd"}
        A share is 0..1.
    larger_is_better : bool
        Which way is better.
    """

    section: str
    name: str
    title: str
    column: str
    statistic: Statistic
    unit: str = "share"
    larger_is_better: bool = True


def _mean(section: str, name: str, title: str, *, larger_is_better: bool = True) -> Measure:
    return Measure(
        section=section,
        name=name,
        title=title,
        column=name,
        statistic=mean_of(name),
        larger_is_better=larger_is_better,
    )


def _latency(percent: int) -> Measure:
    return Measure(
        section="latency_ms",
        name=f"p{percent}",
        title=f"latency, {percent}th percentile",
        column="latency_ms",
        statistic=percentile_of("latency_ms", percent),
        unit="ms",
        larger_is_better=False,
    )


MEASURES: Final = (
    _mean("retrieval", "recall@1", "a right chunk is first"),
    _mean("retrieval", "recall@5", "a right chunk is among the first 5"),
    _mean("retrieval", "recall@10", "a right chunk is among the first 10"),
    _mean("retrieval", "mrr", "1 / place of the first right chunk"),
    _mean("retrieval", "ndcg@10", "nDCG of the first 10 chunks"),
    _mean("answers", "sentence_top1", "the first quote is right"),
    _mean("answers", "sentence_top3", "one of the first 3 quotes is right"),
    _mean("answers", "f1", "F1 of the answer's words"),
    _mean("answers", "em", "the answer is exactly right"),
    _mean("answers", "refused_unanswerable", "refused where nothing answers"),
    _mean("answers", "refused_answerable", "refused although something answers", larger_is_better=False),
    Measure(
        section="answers",
        name="no_answer_auroc",
        title="AUROC of the answer signal",
        column="signal",
        statistic=signal_auroc,
    ),
    _latency(50),
    _latency(95),
    _latency(99),
    Measure(
        section="cost",
        name="usd_per_question",
        title="cost of a question",
        column="cost_usd",
        statistic=mean_of("cost_usd"),
        unit="usd",
        larger_is_better=False,
    ),
)


class Measured(msgspec.Struct, frozen=True):
    """A measure with its value; None where no question gives one."""

    measure: Measure
    found: Interval | None


class Requirement(msgspec.Struct, frozen=True):
    """A value that a measure must reach, or must not exceed where smaller is better."""

    name: str
    limit: float

    @property
    def relation(self) -> str:
        """``>=`` or ``<=``."""
        return ">=" if measure_named(self.name).larger_is_better else "<="

    def met(self, value: float | None) -> bool:
        """Whether a value is good enough; no value is not."""
        if value is None:
            return False
        return value >= self.limit if self.relation == ">=" else value <= self.limit


def measure(judgements: Sequence[Judgement]) -> list[Measured]:
    """All measures of a run."""
    data = columns(judgements)
    return [
        Measured(each, interval(data, each.statistic, _count(judgements, each)))
        if each.column in data
        else Measured(each, None)
        for each in MEASURES
    ]


def compare(judgements: Sequence[Judgement], against: Sequence[Judgement]) -> list[Measured]:
    """What a run has over another, measure by measure, on the questions that both asked.

    Raises
    ------
    InputRejected
        They share no question.
    """
    others = {(other.id, other.question): other for other in against}
    shared = [(one, others[one.id, one.question]) for one in judgements if (one.id, one.question) in others]
    if not shared:
        raise InputRejected("the two runs share no question (by id and text), so they cannot be compared")
    ours, theirs = [one for one, _ in shared], [other for _, other in shared]
    data, other_data = columns(ours), columns(theirs)
    found = []
    for each in MEASURES:
        n = sum(each.column in one.values and each.column in other.values for one, other in shared)
        known = each.column in data and each.column in other_data and n
        found.append(Measured(each, paired_difference(data, other_data, each.statistic, n) if known else None))
    return found


def measure_named(name: str) -> Measure:
    """The measure that a name means: its own, or a short one (``r@5``, ``auroc``).

    Raises
    ------
    InputRejected
        There is none.
    """
    short = name.lower().strip()
    known = {each.name: each for each in MEASURES}
    known |= {each.name.replace("recall", "r"): each for each in MEASURES if each.name.startswith("recall")}
    known |= {"auroc": known["no_answer_auroc"], "ndcg": known["ndcg@10"]}
    if short not in known:
        raise InputRejected(f"there is no measure {name!r}; there are {', '.join(each.name for each in MEASURES)}")
    return known[short]


def requirement(text: str) -> Requirement:
    """Requirement of ``NAME=VALUE``.

    Raises
    ------
    InputRejected
        It is not of that form.
    """
    name, equals, value = text.partition("=")
    try:
        limit = float(value)
    except ValueError:
        limit = float("nan")
    if not equals or limit != limit:  # noqa: PLR0124 - NaN is the number that is not itself
        raise InputRejected(f"requirement {text!r} is not of the form NAME=NUMBER, such as recall@5=0.8")
    return Requirement(measure_named(name).name, limit)


def _count(judgements: Sequence[Judgement], each: Measure) -> int:
    return sum(each.column in judgement.values for judgement in judgements)
