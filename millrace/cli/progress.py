"""The progress bar: rich's, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from millrace.cli.output import Reporter, plain


@contextmanager
def bar(title: str) -> Iterator[Reporter]:
    """Show a bar while the block runs."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=None)

        def report(done: int, total: int, text: str = "") -> None:
            shown.update(task, completed=done, total=total or None, description=plain(text) or title)

        yield report
