"""The report as one HTML file that needs nothing else."""

from pathlib import Path
from typing import Final

from millrace.analytics.intents import MEANINGS
from millrace.analytics.summary import Report, TenantReport
from millrace.reports import page

TOPICS_SHOWN: Final = 40
ANALYSED: Final = {"sklearn": "scikit-learn"}


def check_installed(*, html: bool) -> None:
    """Fail before the log is read.

    Parameters
    ----------
    html : bool
        Whether a page is wanted as well.

    Raises
    ------
    ConfigurationError
        A library is missing.
    """
    page.check_installed(ANALYSED, "report", "finding topics", "look at single questions with `millrace trace`")
    if html:
        page.check_installed(page.DRAWN, "report", "the HTML report", "leave --html out")


def write_html(report: Report, path: Path) -> None:
    """Write the report.

    Parameters
    ----------
    report : Report
        What was found.
    path : Path
        Where to; its folder is made.

    Raises
    ------
    ConfigurationError
        A library is missing.
    """
    check_installed(html=True)
    from millrace.analytics.plots import plots  # noqa: PLC0415 - an extra that most who import this do not need

    drawn = [plots(tenant, report.weeks) for tenant in report.tenants]
    html = page.render(
        "millrace.analytics",
        "report.html.jinja",
        [image for of_tenant in drawn for image in of_tenant],
        report=report,
        n_images=[len(of_tenant) for of_tenant in drawn],
        n_shown=TOPICS_SHOWN,
        share=share,
        amount=amount,
        count=count,
        meaning=meaning,
    )
    page.write(html, path)


def share(value: float | None) -> str:
    """A share as people read it, or a dash."""
    return "-" if value is None else f"{value:.0%}"


def amount(value: float | None, unit: str) -> str:
    """A number with its unit as people read it, or a dash."""
    if value is None:
        return "-"
    return f"${value:.4f}" if unit == "usd" else f"{value:.0f} {unit}"


def count(value: int | None) -> str:
    """A count as people read it, or a dash where it is not told."""
    return "-" if value is None else str(value)


def most(tenant: TenantReport) -> str:
    """What a tenant's questions are about, in a line."""
    return "; ".join(f"{topic.name} ({topic.n})" for topic in tenant.topics[:3])


def meaning(intent: str) -> str:
    """An intent in words."""
    return MEANINGS.get(intent, "not in English, so no rule looked at it")
