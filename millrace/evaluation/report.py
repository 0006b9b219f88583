"""The report of a run as one HTML file that needs nothing else: no script, no address, no font of its own."""

from pathlib import Path
from typing import Final

from millrace.evaluation.judging import Judgement
from millrace.evaluation.measures import Measured, Requirement
from millrace.evaluation.run import Results, stage_percentiles
from millrace.reports import page

WORST: Final = 25


def check_installed() -> None:
    """Fail before any question is asked.

    Raises
    ------
    ConfigurationError
        A library of the report is missing.
    """
    page.check_installed(page.DRAWN, "eval", "the HTML report", "leave --html out")


def write_html(results: Results, path: Path, n_worst: int = WORST) -> None:
    """Write the report.

    Parameters
    ----------
    results : Results
        The run, measured.
    path : Path
        Where to; its folder is made.
    n_worst : int
        How many of the worst questions are listed.

    Raises
    ------
    ConfigurationError
        A library is missing.
    """
    check_installed()
    page.write(_html(results, n_worst), path)


def in_words(each: Measured, *, signed: bool = False) -> str:
    """A measure's value with its interval, or a dash."""
    if each.found is None:
        return "-"
    value, low, high = (shown(number, each.measure.unit, signed=signed) for number in _numbers(each))
    return f"{value} [{low}, {high}]"


def shown(value: float, unit: str, *, signed: bool = False) -> str:
    """A number as people read it."""
    sign = "-" if value < 0 else "+" if signed else ""
    size = abs(value)
    return sign + {"share": f"{size:.3f}", "ms": f"{size:.0f} ms", "usd": f"${size:.5f}"}[unit]


def verdict(each: Measured) -> str:
    """What a difference says: ``better``, ``worse`` or ``no clear difference``."""
    if each.found is None or each.found.low <= 0 <= each.found.high:
        return "no clear difference"
    return "better" if (each.found.value > 0) == each.measure.larger_is_better else "worse"


def requirement_in_words(each: Requirement, results: Results) -> str:
    """A requirement and what was found."""
    value = results.value(each.name)
    return (
        f"{each.name} {each.relation} {each.limit:g}: found {'nothing to measure' if value is None else f'{value:.4g}'}"
    )


def fault(judgement: Judgement) -> str:
    """What is wrong with an answer, in a few words; empty if nothing is."""
    if judgement.status == "failed":
        return "failed"
    if judgement.unanswerable:
        return "answered, although nothing answers it" if judgement.status == "answered" else ""
    if judgement.status == "not_found":
        return "refused, although something answers it"
    if not judgement.expected:
        return ""
    places = judgement.right_places
    quoted = [place for place, quote in enumerate(judgement.quotes, 1) if quote.right]
    faults = [] if places else ["right chunk not found"]
    faults += [f"right chunk at place {places[0]}"] if places and places[0] > 1 else []
    faults += [] if quoted else ["right sentence not quoted"]
    faults += [f"right sentence at place {quoted[0]}"] if quoted and quoted[0] > 1 else []
    return ", ".join(faults)


def _numbers(each: Measured) -> tuple[float, float, float]:
    assert each.found is not None  # noqa: S101 - both callers looked
    return each.found.value, each.found.low, each.found.high


def _html(results: Results, n_worst: int) -> str:
    from millrace.evaluation.plots import plots  # noqa: PLC0415 - an extra that most who import this do not need

    return page.render(
        "millrace.evaluation",
        "report.html.jinja",
        plots(results),
        results=results,
        run=results.run,
        worst=results.run.worst(n_worst),
        differences={each.measure.name: each for each in results.differences},
        stages=stage_percentiles(results.run.judgements),
        in_words=in_words,
        verdict=verdict,
        fault=fault,
        requirement_in_words=requirement_in_words,
    )
