"""Make a report: read the log, find topics, put it together."""

from collections.abc import Callable, Collection

from millrace.analytics import analysis
from millrace.analytics.masking import Find
from millrace.analytics.reading import read_questions
from millrace.analytics.summary import AnalysisOptions, Report
from millrace.connection import Connection
from millrace.times import iso, now


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
        made_at=now(),
        asked_from=iso(from_us // 1000, "seconds"),
        asked_to=iso(to_us // 1000, "seconds"),
        weeks=analysis.week_names(weeks),
        options=options,
        tenants=found,
        n_searches=read.n_searches,
        n_unreadable=read.n_unreadable,
        searched_for_persons=find is not None,
    )
