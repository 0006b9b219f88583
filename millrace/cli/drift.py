"""``millrace drift``: whether a tenant's traffic is what it was."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.application import Json, Tenant, app, connection_of, tenant_of
from millrace.cli.output import progress, say, show, table
from millrace.cli.times import start_of

if TYPE_CHECKING:
    from millrace.drift import Drift, SignalDrift

_BARS = "▁▂▃▄▅▆▇█"
_MOST_WINDOWS = 40


@app.command(epilog="Example: millrace drift --from 7d")
def drift(
    context: typer.Context,
    since: Annotated[str, typer.Option("--from", help="beginning, a time, or an age such as 7d.")] = "beginning",
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """Show what drift is looked for in: windows of each signal, changes, and the training asked for."""
    from millrace.drift import read_drift

    with progress("read the log") as bar:
        found = read_drift(connection_of(context), tenant_of(context, tenant), start_of(since), bar)
    show(found, lambda: _render(found), as_json=as_json)


def _render(found: "Drift") -> None:
    if not found.signals:
        say(f"tenant {found.tenant}: no signal has filled a window yet, and none has changed")
        return
    columns = ("signal", "# windows", "over time", "# last mean", "# deviation", "# reference", "# of threshold")
    table(columns, [_row(signal) for signal in found.signals])
    for signal in found.signals:
        for change in signal.changes:
            say(
                f"{signal.signal} changed from {change.before:.3g} to {change.after:.3g}, "
                f"about {change.n_since} values before its {change.n_seen}th"
            )
    from millrace.times import iso

    for request in found.requests:
        ranges = ", ".join(f"{each.topic}/{each.partition} {each.start}-{each.stop - 1}" for each in request.ranges)
        why = f"{request.reason} of {request.signal}" if request.signal else request.reason
        say(f"{iso(request.time_us // 1000)} training of {request.model} requested, {why}: {ranges}")


def _row(signal: "SignalDrift") -> Sequence[object]:
    if not signal.windows:
        return (signal.signal, 0, "", "", "", "", "")
    last = signal.windows[-1]
    share = f"{last.statistic / last.threshold:.0%}" if last.threshold else ""
    line = sparkline([window.mean for window in signal.windows[-_MOST_WINDOWS:]])
    numbers = (f"{number:.3g}" for number in (last.mean, last.deviation, last.reference_mean))
    return (signal.signal, len(signal.windows), line, *numbers, share)


def sparkline(values: Sequence[float]) -> str:
    """One bar for each value, from the lowest to the highest of them."""
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return "".join(_BARS[min(int((value - low) / width * len(_BARS)), len(_BARS) - 1)] for value in values)
