"""A run of questions: what was asked and judged, its summary, and the file it is kept in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from millrace.errors import InputRejected
from millrace.evaluation.asking import Asked, AskingOptions
from millrace.evaluation.judging import Judgement
from millrace.evaluation.measures import Measured, Requirement, compare, measure
from millrace.times import now

FORMAT: Final = 1


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Questions asked of a stack, as they were judged.

    Attributes
    ----------
    questions : str
        Name of the file of questions.
    made_at : str
        When, UTC, ISO 8601.
    options : AskingOptions
        How they were asked.
    judgements : tuple of Judgement
        In the order of the file.
    missing : tuple of str
        Right documents that the index did not have.
    """

    questions: str
    made_at: str
    options: AskingOptions
    judgements: tuple[Judgement, ...]
    missing: tuple[str, ...] = ()

    @property
    def n_failed(self) -> int:
        """Questions without an answer, not even a refusal."""
        return sum(judgement.status == "failed" for judgement in self.judgements)

    @property
    def n_unreachable(self) -> int:
        """Questions whose answer no chunk of the index holds."""
        found = self.judgements
        return sum(bool(each.expected) and not each.n_right and each.status != "failed" for each in found)

    def worst(self, n: int) -> list[Judgement]:
        """The questions with the worst answers, worst first; right ones are left out."""
        ordered = sorted(self.judgements, key=lambda judgement: judgement.badness, reverse=True)
        return [judgement for judgement in ordered if any(judgement.badness)][:n]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes
    ----------
    run : Run
        The run.
    measured : tuple of Measured
        Its measures.
    against : Run or None
        The run it was compared with.
    differences : tuple of Measured
        What it has over that, measure by measure; none without one.
    requirements : tuple of Requirement
        What was asked for.
    """

    run: Run
    measured: tuple[Measured, ...]
    against: Run | None = None
    differences: tuple[Measured, ...] = ()
    requirements: tuple[Requirement, ...] = ()

    def value(self, name: str) -> float | None:
        """Value of a measure; None where it was not measured."""
        found = next(each.found for each in self.measured if each.measure.name == name)
        return found.value if found is not None else None

    @property
    def unmet(self) -> list[Requirement]:
        """Requirements that were missed."""
        return [each for each in self.requirements if not each.met(self.value(each.name))]


def make_run(path: Path, options: AskingOptions, asked: Asked) -> Run:
    """A run of what was asked just now."""
    return Run(questions=path.name, made_at=now(), options=options, judgements=asked.judgements, missing=asked.missing)


def evaluate(run: Run, against: Run | None = None, requirements: Sequence[Requirement] = ()) -> Results:
    """Measure a run, and compare it with another.

    Raises
    ------
    InputRejected
        The two share no question.
    """
    return Results(
        run=run,
        measured=tuple(measure(run.judgements)),
        against=against,
        differences=tuple(compare(run.judgements, against.judgements)) if against is not None else (),
        requirements=tuple(requirements),
    )


def document(results: Results) -> dict[str, Any]:
    """The JSON document of a run: summary, intervals, and the run itself, which `load_run` reads."""
    run = results.run
    found: dict[str, Any] = {
        "format": FORMAT,
        "n": len(run.judgements),
        "n_failed": run.n_failed,
        "n_unreachable": run.n_unreachable,
        "n_unanswerable": sum(judgement.unanswerable for judgement in run.judgements),
    }
    for section, names in _sections(results.measured).items():
        found[section] = {name: _rounded(each.found.value) if each.found else None for name, each in names.items()}
    found["latency_ms"] = {"total": found["latency_ms"], **_stages(run.judgements)}
    found["cost"]["usd"] = sum(judgement.cost_usd for judgement in run.judgements)
    found["intervals"] = _intervals(results.measured)
    found["errors"] = dict(Counter(j.error.partition(":")[0] for j in run.judgements if j.status == "failed"))
    found["requirements"] = [
        {"name": each.name, "relation": each.relation, "limit": each.limit, "met": each not in results.unmet}
        for each in results.requirements
    ]
    if results.against is not None:
        found["against"] = {
            "questions": results.against.questions,
            "made_at": results.against.made_at,
            "differences": _intervals(results.differences),
        }
    return found | {"run": msgspec.to_builtins(run)}


def load_run(path: Path) -> Run:
    """Read a run back from its JSON document.

    Raises
    ------
    InputRejected
        The file is none.
    """
    try:
        raw = msgspec.json.decode(path.read_bytes())
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            found = raw.get("format") if isinstance(raw, dict) else None
            raise InputRejected(f"{path} is no run of format {FORMAT} (found {found}); make one with `millrace eval`")
        return msgspec.convert(raw["run"], Run)
    except (OSError, msgspec.MsgspecError, KeyError, RecursionError) as error:
        raise InputRejected(f"{path} holds no run ({error}); make one with `millrace eval --save {path}`") from error


def stage_percentiles(judgements: Sequence[Judgement]) -> dict[str, dict[str, float]]:
    """Percentiles of the time in each stage, in milliseconds, in the order of the stages."""
    stages: dict[str, list[float]] = {}
    for judgement in judgements:
        for name, ms in judgement.stages_ms.items():
            stages.setdefault(name, []).append(ms)
    return {
        name: {f"p{percent}": float(np.percentile(values, percent)) for percent in (50, 95, 99)}
        for name, values in stages.items()
    }


def _stages(judgements: Sequence[Judgement]) -> Mapping[str, Any]:
    return {
        name: {percent: _rounded(ms) for percent, ms in found.items()}
        for name, found in stage_percentiles(judgements).items()
    }


def _sections(measured: Sequence[Measured]) -> dict[str, dict[str, Measured]]:
    found: dict[str, dict[str, Measured]] = {}
    for each in measured:
        found.setdefault(each.measure.section, {})[each.measure.name] = each
    return found


def _intervals(measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        each.measure.name: {
            "value": _rounded(each.found.value),
            "low": _rounded(each.found.low),
            "high": _rounded(each.found.high),
            "n": each.found.n,
        }
        for each in measured
        if each.found is not None
    }


def _rounded(value: float) -> float:
    return round(value, 6)
