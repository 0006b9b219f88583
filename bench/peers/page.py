"""The report of a comparison: Markdown with plots beside it, and JSON with every repetition."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.peers.findings import Section, with_earlier_cells
from bench.peers.plots import draw
from bench.report import write_results
from millrace.errors import ConfigurationError


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about the peers.

    Attributes
    ----------
    command : str
        What a reader types to get the same.
    sections : sequence of Section
        Comparisons.
    environment : dict of str to str
        What the numbers depend on.
    versions : dict of str to str
        Releases by peer.
    missing : dict of str to str
        Peers that could not be installed, and why.
    repetitions, quick
        How often each was measured, and whether sizes were tiny.
    """

    command: str
    sections: Sequence[Section]
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    missing: Mapping[str, str]
    repetitions: int
    quick: bool

    @property
    def complete(self) -> bool:
        """Whether every peer was measured everywhere."""
        return not self.missing and not any(section.failures for section in self.sections)


def with_earlier(report: Report, json: Path, order: Sequence[str]) -> Report:
    """The report with what an earlier one has beyond it, in this order: comparisons, and cells of the fault matrix.

    Raises
    ------
    ConfigurationError
        The file holds no report.
    """
    if not json.exists():
        return report
    try:
        earlier = msgspec.json.decode(json.read_bytes(), type=Report)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{json} holds no report to add to ({error}); leave --add out") from error
    sections = {section.name: section for section in (*earlier.sections, *report.sections)}
    for section in earlier.sections:
        if section.name == "faults" and sections["faults"] is not section:
            sections["faults"] = with_earlier_cells(sections["faults"], section)
    return msgspec.structs.replace(
        report,
        sections=sorted(sections.values(), key=lambda section: order.index(section.name)),
        versions={**earlier.versions, **report.versions},
        missing={**earlier.missing, **report.missing},
    )


def write(report: Report, json: Path, markdown: Path) -> None:
    """Write the report, and its plots into a folder ``plots`` beside the Markdown."""
    json.parent.mkdir(parents=True, exist_ok=True)
    json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    for section in report.sections:
        if section.bars:
            draw(markdown.parent / _plot(section), section.title, section.bars, section.unit)
    write_results(as_markdown(report), markdown)


def as_markdown(report: Report) -> str:
    """Tables of all comparisons, then what they were measured on."""
    lines = [f"Written by `{report.command}`.", ""]
    if report.quick:
        lines += ["**Sizes were tiny, to see that everything runs: the numbers mean nothing.**", ""]
    if report.repetitions > 1:
        lines += [
            f"Medians of {report.repetitions} repetitions in turns; the spread is the lowest and the highest.",
            "",
        ]
    for peer, reason in report.missing.items():
        lines += [f"**{peer} is missing**: {_one_line(reason)}", ""]
    for section in report.sections:
        lines += _section(section)
    lines += ["### Measured on", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in (*report.environment.items(), *report.versions.items())]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"### {section.title}", "", section.notes, ""]
    if section.bars:
        lines += [f"![{section.title}: {section.unit}]({_plot(section)})", ""]
    if section.rows:
        lines += [_row(section.columns), "|" + "---|" * len(section.columns), *map(_row, section.rows), ""]
    for peer, reason in section.failures.items():
        lines += [f"**{peer} could not be measured**: {_one_line(reason)}", ""]
    return [*lines, f"Took {section.seconds:.0f} s; measured {section.measured}.", ""]


def _plot(section: Section) -> Path:
    return Path("plots") / f"peers-{section.name}.svg"


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
