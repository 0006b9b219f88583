"""What was found about the peers: tables for readers, bars for plots, and the plain numbers behind both."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.measure import Sample, percentile, rate_ratios
from bench.peers.faults import SCENARIOS, Cell
from bench.peers.turns import Turns


class Bar(msgspec.Struct, frozen=True):
    """A median with its lowest and highest repetition."""

    label: str
    value: float
    low: float
    high: float


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison.

    Attributes
    ----------
    name, title : str
        How it is chosen, and what readers see.
    notes : str
        How it was measured.
    columns, rows
        Its table.
    bars, unit
        Its plot; empty where there is none.
    data : Any
        All repetitions.
    failures : dict of str to str
        Peers that could not be measured, and why.
    seconds : float
        How long it took.
    measured : str
        When, and at which commit.
    """

    name: str
    title: str
    notes: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    bars: tuple[Bar, ...] = ()
    unit: str = ""
    data: Any = None
    failures: Mapping[str, str] = {}
    seconds: float = 0.0
    measured: str = ""


def rates(name: str, title: str, notes: str, turns: Turns[Sample], ours: str, unit: str) -> Section:
    """Rates of all contenders, the fastest first, each with our rate over it."""
    base = turns.samples.get(ours, [])
    order = sorted(turns.samples, key=lambda each: -_median_rate(turns.samples[each]))
    rows, bars = [], []
    for each in order:
        runs = turns.samples[each]
        found = [run.rate for run in runs]
        ratio = f"{statistics.median(rate_ratios(base, runs)):.2f}" if base else "-"
        cpu_us = statistics.median(run.cpu_us for run in runs)
        rows.append(
            (each, shown(statistics.median(found)), f"{shown(min(found))} .. {shown(max(found))}",
             f"{cpu_us:.1f}" if cpu_us else "-", ratio)
        )  # fmt: skip
        bars.append(Bar(each, statistics.median(found), min(found), max(found)))
    return Section(
        name=name, title=title, notes=notes, rows=tuple(rows), bars=tuple(bars), unit=f"{unit} a second",
        columns=("", f"{unit} a second", "spread", "CPU us each", f"{ours} is so many times as fast"),
        data=turns.samples, failures=turns.failures,
    )  # fmt: skip


def latencies(name: str, title: str, notes: str, turns: Turns[list[float]], floor: str) -> Section:
    """Latencies of all contenders in ms, the shortest first, each over the floor's of the same turn."""
    base = turns.samples.get(floor, [])
    medians = {each: [statistics.median(run) for run in runs] for each, runs in turns.samples.items()}
    rows, bars = [], []
    for each in sorted(medians, key=lambda one: statistics.median(medians[one])):
        everything = [value for run in turns.samples[each] for value in run]
        points = [f"{percentile(everything, share):.2f}" for share in (0.5, 0.95, 0.99)]
        pairs = zip(turns.samples[each], base, strict=True) if base else ()
        ratios = [statistics.median(run) / statistics.median(least) for run, least in pairs]
        rows.append((each, *points, f"{statistics.median(ratios):.2f}" if ratios else "-"))
        bars.append(Bar(each, statistics.median(medians[each]), min(medians[each]), max(medians[each])))
    return Section(
        name=name, title=title, notes=notes, rows=tuple(rows), bars=tuple(bars), unit="ms, median",
        columns=("", "p50, ms", "p95, ms", "p99, ms", f"p50 over that of the {floor}"),
        data=turns.samples, failures=turns.failures,
    )  # fmt: skip


def matrix(notes: str, cells: Sequence[Cell]) -> Section:
    """The fault matrix: a row for each peer, a column for each disturbance."""
    peers = list(dict.fromkeys(cell.peer for cell in cells))
    by_place = {(cell.peer, cell.fault): cell for cell in cells}
    rows = tuple((peer, *(in_words(by_place.get((peer, each.name))) for each in SCENARIOS)) for peer in peers)
    failures = {f"{cell.peer}, {cell.fault}": cell.error for cell in cells if cell.error}
    return Section(
        name="faults", title="The same faults for everyone", notes=notes, rows=rows, data=cells, failures=failures,
        columns=("", *(each.title for each in SCENARIOS)),
    )  # fmt: skip


def with_earlier_cells(section: Section, earlier: Section) -> Section:
    """The fault matrix with those cells of an earlier one that it does not have."""
    cells: list[Cell] = [*msgspec.convert(earlier.data, list[Cell]), *section.data]
    merged = matrix(section.notes, list({(cell.peer, cell.fault): cell for cell in cells}.values()))
    return msgspec.structs.replace(
        merged,
        seconds=earlier.seconds + section.seconds,
        measured=section.measured
        if earlier.measured == section.measured
        else f"{earlier.measured} to {section.measured}",
    )


def in_words(cell: Cell | None) -> str:
    """What became of the records under one disturbance; what should not be is bold."""
    if cell is None:
        return "not run"
    if cell.verdict is None:
        return cell.unlike or f"not run: {cell.error}"
    verdict = cell.verdict
    words = [f"**{verdict.lost} lost**" if verdict.lost else "0 lost"]
    if verdict.blocked:
        words.append(f"**stands still**, {shown(verdict.blocked)} not reached")
    if verdict.n_bad:
        words.append(f"{verdict.letters} of {verdict.n_bad} dead-lettered")
    if verdict.repeated:
        words.append(f"{shown(verdict.repeated)} repeated")
    if not verdict.ordered:
        words.append("**order of a key broken**")
    if cell.deaths:
        words.append("**died once**" if cell.deaths == 1 else f"**died {cell.deaths} times**")
    if cell.term_s is not None:
        words.append(_ended(cell.term_s, cell.term_status))
    return ", ".join(words)


def shown(value: float) -> str:
    """A number as readers want it: no more digits than mean something."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"


def _ended(seconds: float, status: int | None) -> str:
    if status is None:
        return f"**did not end within {seconds:.0f} s**"
    how = "" if status == 0 else f" (status {status})"
    return f"ended in {seconds:.1f} s{how}"


def _median_rate(runs: Sequence[Sample]) -> float:
    return statistics.median(run.rate for run in runs)
