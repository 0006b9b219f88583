"""Recorded questions asked again: each answer beside the one that was given, and what the pairs come to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from millrace.evaluation.bootstrap import interval, mean_of, paired_difference, percentile_of
from millrace.evaluation.measures import Measure, Measured
from millrace.evaluation.text_match import f1, normalised

FORMAT: Final = 1
ContextMode = Literal["recorded", "at_watermark", "now"]
Verdict = Literal["identical", "changed", "better", "worse"]
VERDICTS: Final[tuple[Verdict, ...]] = ("identical", "changed", "better", "worse")
_LIKED: Final = 0.5
"""Below this F1 against an answer that people liked, what replaced it counts as another answer."""


class Quoted(msgspec.Struct, frozen=True):
    """A passage that an answer quotes: which, and what it says."""

    document: str
    chunk_id: str
    start: int
    end: int
    quote: str = ""

    @property
    def place(self) -> tuple[str, str, int, int]:
        """Which passage it is."""
        return (self.document, self.chunk_id, self.start, self.end)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a question, then or now.

    Attributes
    ----------
    chunks : tuple of str
        Ids of the chunks it was read from, best first.
    ms : mapping of str to float
        Milliseconds by stage.
    statistics : str
        Term statistics used; see `ContextRetrieved`.
    """

    status: str
    text: str = ""
    error_type: str = ""
    chunks: tuple[str, ...] = ()
    quotes: tuple[Quoted, ...] = ()
    confidence: float = 0.0
    model: str = ""
    cost_usd: float = 0.0
    ms: Mapping[str, float] = {}
    exact: bool = False
    statistics: str = ""
    watermark: str = ""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A question with its two answers.

    Attributes
    ----------
    incomplete : str
        Why it could not be asked again as it was asked then, one of a few words; empty where it could. An incomplete
        pair is in no measure.
    detail : str
        The same in words.
    verdict : str
        ``better`` and ``worse`` only where something says what is right: a correction, praise, or an end in failure.
    changes : mapping of str to int
        Why chunks differ, by reason: ``-superseded``, ``-rank``, ``+new``, and so on.
    feedback : float or None
        Mean of what was said of the old answer, -1 to 1.
    correction : str
        What people said the answer should have been.
    """

    correlation: str
    tenant: str
    question: str
    asked_at_ms: int = -1
    then: Side | None = None
    now: Side | None = None
    incomplete: str = ""
    detail: str = ""
    verdict: Verdict = "changed"
    changes: Mapping[str, int] = {}
    feedback: float | None = None
    correction: str = ""

    @property
    def compared(self) -> bool:
        """Whether it counts."""
        return not self.incomplete and self.then is not None and self.now is not None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Questions asked again.

    Attributes
    ----------
    context : str
        Where their contexts came from.
    changed : mapping of str to pair of str
        Settings that were changed: what the stack's are, and what they were for this replay.
    notes : tuple of str
        What a reader should know.
    """

    made_at: str
    context: ContextMode
    asked: str
    changed: Mapping[str, tuple[str, str]] = {}
    pairs: tuple[Pair, ...] = ()
    n_undecodable: int = 0
    held_s: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def compared(self) -> list[Pair]:
        """Pairs that count."""
        return [pair for pair in self.pairs if pair.compared]

    @property
    def incomplete(self) -> Counter[str]:
        """Questions that could not be asked again as they were, by reason."""
        return Counter(pair.incomplete for pair in self.pairs if pair.incomplete)

    @property
    def verdicts(self) -> Counter[str]:
        """Compared pairs by verdict."""
        return Counter(pair.verdict for pair in self.compared)

    @property
    def changes(self) -> Counter[str]:
        """Why chunks differ, over all compared pairs."""
        return sum((Counter(dict(pair.changes)) for pair in self.compared), Counter())


def judged(pair: Pair) -> Pair:
    """Give a pair its verdict."""
    if not pair.compared or pair.then is None or pair.now is None:
        return pair
    return msgspec.structs.replace(pair, verdict=_verdict(pair, pair.then, pair.now))


def _verdict(pair: Pair, then: Side, now: Side) -> Verdict:
    if same_answer(then, now) and then.chunks == now.chunks:
        return "identical"
    if (then.status == "failed") != (now.status == "failed"):
        return "worse" if now.status == "failed" else "better"
    if pair.correction:
        before, after = f1(then.text, [pair.correction]), f1(now.text, [pair.correction])
        if before != after:
            return "better" if after > before else "worse"
        return "changed"
    liked = (pair.feedback or 0) > 0 and then.status == "answered"
    lost = now.status != "answered" or f1(now.text, [then.text]) < _LIKED
    return "worse" if liked and lost else "changed"


def same_answer(then: Side, now: Side) -> bool:
    """Whether both say and quote the same."""
    return (then.status, then.text, _places(then)) == (now.status, now.text, _places(now))


def _share(name: str, title: str) -> Measure:
    return Measure(section="agreement", name=name, title=title, column=name, statistic=mean_of(name))


def _both(name: str, title: str, *, unit: str = "share", larger_is_better: bool = True) -> Measure:
    return Measure(
        section="answers", name=name, title=title, column=name, statistic=mean_of(name), unit=unit,
        larger_is_better=larger_is_better,
    )  # fmt: skip


def _latency(percent: int) -> Measure:
    return Measure(
        section="latency_ms", name=f"p{percent}", title=f"time in the stages, {percent}th percentile", column="ms",
        statistic=percentile_of("ms", percent), unit="ms", larger_is_better=False,
    )  # fmt: skip


AGREEMENT: Final[tuple[Measure, ...]] = (
    _share("same_chunks", "the same chunks in the same order"),
    _share("same_first_chunk", "the same chunk is first"),
    _share("chunk_overlap", "chunks in both, of those in either"),
    _share("same_status", "both answered, or both not"),
    _share("same_answer", "the same text and quotes"),
    _share("answer_f1", "F1 of the new answer's words against the old"),
    _share("quote_overlap", "quotes in both, of those in either"),
)
"""What the two answers of a question have in common."""
_OF_CHUNKS: Final = frozenset({"same_chunks", "same_first_chunk", "chunk_overlap"})
"""Agreement that a search leads to: nothing was searched for where the recorded chunks were read again."""

SIDES: Final = (
    _both("answered", "answered, not refused"),
    _both("grounded", "words of the answer that stand in its quotes"),
    _both("f1", "F1 of the answer's words against people's corrections"),
    _both("confidence", "signal that an answer depends on"),
    _latency(50),
    _latency(95),
    _both("usd_per_question", "cost of a question", unit="usd", larger_is_better=False),
)
"""What is measured of each side, so that there is a difference."""

_Column = npt.NDArray[np.float64]


class Compared(msgspec.Struct, frozen=True):
    """Measures of a replay: agreement, each side, and what now has over then."""

    agreement: tuple[Measured, ...]
    then: tuple[Measured, ...]
    now: tuple[Measured, ...]
    differences: tuple[Measured, ...]


def measured(replay: Replay) -> Compared:
    """All measures, with intervals; None in them where no question has a say.

    What is so by construction is left out: where the recorded chunks were read again, the time of retrieval and how far
    the chunks agree.
    """
    sides = [(pair, pair.then, pair.now) for pair in replay.compared if pair.then and pair.now]
    shared = _columns([_agreement(then, now) for _, then, now in sides])
    stages = [then.ms.keys() & now.ms.keys() for _, then, now in sides]
    agreement = AGREEMENT
    if replay.context == "recorded":
        stages = [each - {"retrieve"} for each in stages]
        agreement = tuple(each for each in AGREEMENT if each.name not in _OF_CHUNKS)
    before = _columns([_values(pair, then, each) for (pair, then, _), each in zip(sides, stages, strict=True)])
    after = _columns([_values(pair, now, each) for (pair, _, now), each in zip(sides, stages, strict=True)])
    return Compared(
        tuple(_one(each, shared) for each in agreement),
        tuple(_one(each, before) for each in SIDES),
        tuple(_one(each, after) for each in SIDES),
        tuple(_difference(each, after, before) for each in SIDES),
    )


def document(replay: Replay) -> dict[str, Any]:
    """The JSON document of a replay."""
    found = measured(replay)
    return {
        "format": FORMAT,
        "n": len(replay.pairs),
        "n_compared": len(replay.compared),
        "n_incomplete": replay.incomplete.total(),
        "incomplete": dict(replay.incomplete),
        "verdicts": {name: replay.verdicts[name] for name in VERDICTS},
        "changes": dict(replay.changes),
        "agreement": _intervals(found.agreement),
        "then": _intervals(found.then),
        "now": _intervals(found.now),
        "differences": _intervals(found.differences),
        "replay": msgspec.to_builtins(replay),
    }


def _agreement(then: Side, now: Side) -> dict[str, float]:
    found = {
        "same_chunks": float(then.chunks == now.chunks),
        "same_first_chunk": float(then.chunks[:1] == now.chunks[:1]),
        "chunk_overlap": _overlap(set(then.chunks), set(now.chunks)),
        "same_status": float(then.status == now.status),
        "same_answer": float(same_answer(then, now)),
    }
    if then.status == now.status == "answered":
        found["answer_f1"] = f1(now.text, [then.text])
        found["quote_overlap"] = _overlap(set(_places(then)), set(_places(now)))
    return found


def _values(pair: Pair, side: Side, stages: set[str]) -> dict[str, float]:
    found = {
        "answered": float(side.status == "answered"),
        "confidence": side.confidence,
        "usd_per_question": side.cost_usd,
    }
    if stages:
        found["ms"] = sum(side.ms[name] for name in stages)
    if side.status == "answered":
        found["grounded"] = grounded(side)
    if pair.correction:
        found["f1"] = f1(side.text, [pair.correction])
    return found


def grounded(side: Side) -> float:
    """Share of an answer's words that stand in what it quotes, 0 to 1; 1 for no words."""
    words = Counter(normalised(side.text).split())
    there = Counter(word for quoted in side.quotes for word in normalised(quoted.quote).split())
    return (words & there).total() / words.total() if words else 1.0


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, _Column]:
    names = {name for row in rows for name in row}
    found = {name: np.array([row.get(name, np.nan) for row in rows]) for name in sorted(names)}
    return found | {"unanswerable": np.zeros(len(rows))}  # what the resampling counts the questions by


def _one(each: Measure, data: Mapping[str, _Column]) -> Measured:
    known = each.column in data and len(data[each.column]) > 0
    return Measured(each, interval(data, each.statistic, _count(data[each.column])) if known else None)


def _difference(each: Measure, after: Mapping[str, _Column], before: Mapping[str, _Column]) -> Measured:
    if each.column not in after or each.column not in before:
        return Measured(each, None)
    n = _count(after[each.column] + before[each.column])
    return Measured(each, paired_difference(after, before, each.statistic, n) if n else None)


def _count(column: _Column) -> int:
    return int(np.count_nonzero(~np.isnan(column)))


def _intervals(found: Sequence[Measured]) -> dict[str, Any]:
    return {
        each.measure.name: {name: round(value, 6) for name, value in msgspec.structs.asdict(each.found).items()}
        for each in found
        if each.found is not None
    }


def _places(side: Side) -> tuple[tuple[str, str, int, int], ...]:
    return tuple(quoted.place for quoted in side.quotes)


def _overlap(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0
