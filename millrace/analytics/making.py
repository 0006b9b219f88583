"""Make a report: read the log, find topics, put it together."""

import datetime as dt
import time
from collections.abc import Callable, Collection

from millrace.analytics import analysis
from millrace.analytics.masking import Find
from millrace.analytics.reading import read_questions
from millrace.analytics.summary import AnalysisOptions, Report
from millrace.connection import Connection


def make_report(
    connection: Connection,
    asked: tuple[int, int],
    options: AnalysisOptions,
    *,
    tenants: Collection[str] = (),
    find: Find | None = None,
    before: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """What was asked in a range of time.

    Parameters
    ----------
    connection : Connection
        The log.
    asked : (int, int)
        From and to, in microseconds since the epoch.
    options : AnalysisOptions
        How questions are looked at, and what may be shown of them.
    tenants : collection of str
        Whose questions; empty for everybody's.
    find : callable, optional
        Finds the data of persons, which is masked then.
    before : Report, optional
        Topics that go on keep its names.
    progress : callable
        ``progress(done, total)``, of records and then of tenants.

    Raises
    ------
    Unavailable
        The broker does not answer.
    """
    from_us, to_us = asked
    read = read_questions(connection, from_us, to_us, tenants=tenants, progress=progress)
    weeks = analysis.weeks_of(from_us, to_us)
    found = analysis.analyse(read, weeks, options, find=find, before=before, progress=progress)
    return Report(
        made_at=iso(time.time_ns() // 1000),
        asked_from=iso(from_us),
        asked_to=iso(to_us),
        weeks=analysis.week_names(weeks),
        options=options,
        tenants=found,
        n_searches=read.n_searches,
        n_unreadable=read.n_unreadable,
        searched_for_persons=find is not None,
    )


def iso(at_us: int) -> str:
    """A time as people and programs read it, UTC."""
    found = dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC).isoformat(timespec="seconds")
    return found.replace("+00:00", "Z")
