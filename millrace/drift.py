"""What the log says of drift: windows of each signal, the changes that were found, the training asked for."""

from collections.abc import Callable, Iterable

import msgspec

from millrace.connection import Connection
from millrace.event import Event
from millrace.events.learn import DriftDetected, DriftScored, OffsetRange, TrainingRequested
from millrace.positions import Start
from millrace.reader import read
from millrace.topics import DRIFT_DETECTED, DRIFT_SCORED, TRAINING_REQUESTED


class Change(msgspec.Struct, frozen=True):
    """A signal was found to have changed."""

    id: str
    time_us: int
    n_seen: int
    n_since: int
    before: float
    after: float


class Request(msgspec.Struct, frozen=True):
    """Training was asked for; `signal` is the one whose change led to it, empty where another reason did."""

    id: str
    time_us: int
    model: str
    reason: str
    signal: str
    ranges: tuple[OffsetRange, ...]


class SignalDrift(msgspec.Struct, frozen=True):
    """A signal of a tenant: its windows by number, and its changes, oldest first."""

    signal: str
    windows: list[DriftScored]
    changes: list[Change]


class Drift(msgspec.Struct, frozen=True):
    """Drift of a tenant's traffic."""

    tenant: str
    signals: list[SignalDrift]
    requests: list[Request]


def read_drift(
    connection: Connection,
    tenant: str,
    start: Start = "beginning",
    progress: Callable[[int, int], None] | None = None,
) -> Drift:
    """Read what was found out about a tenant's traffic.

    Records of other tenants are read too: keys of these topics name the signal or the model, of which anybody's agents
    may have more than are known here, so a tenant's partitions cannot be named.

    Parameters
    ----------
    progress : callable, optional
        ``progress(n_read, n_total)`` after each batch.

    Raises
    ------
    ContractError, LogTruncated, Unavailable, ConfigurationError
        See `millrace.reader.read`.
    """
    events = read(connection, [DRIFT_SCORED, DRIFT_DETECTED, TRAINING_REQUESTED], start=start, progress=progress)
    return drift_of(tenant, events)


def drift_of(tenant: str, events: Iterable[Event]) -> Drift:
    """Put the events of a tenant together; one that was written twice counts once."""
    found: dict[str, Event] = {}
    for event in events:
        if event.tenant == tenant:
            found.setdefault(event.meta.id, event)
    windows: dict[str, dict[int, DriftScored]] = {}
    changes: dict[str, list[Change]] = {}
    requests: list[Request] = []
    for event_id, event in found.items():
        at = event.meta.time_us
        if isinstance(event, DriftScored):
            windows.setdefault(event.signal, {})[event.window] = event
        elif isinstance(event, DriftDetected):
            changes.setdefault(event.signal, []).append(
                Change(event_id, at, event.n_seen, event.n_since, event.before, event.after)
            )
        elif isinstance(event, TrainingRequested):
            requests.append(Request(event_id, at, event.model, event.reason, _signal(found, event.cause), event.ranges))
    return Drift(
        tenant,
        [
            SignalDrift(
                name,
                [window for _, window in sorted(windows.get(name, {}).items())],
                sorted(changes.get(name, []), key=lambda change: change.n_seen),
            )
            for name in sorted({*windows, *changes})
        ],
        sorted(requests, key=lambda request: (request.time_us, request.id)),
    )


def _signal(found: dict[str, Event], cause: str) -> str:
    event = found.get(cause)
    return event.signal if isinstance(event, DriftDetected) else ""
