"""What became of a change: as the gateway has read it already, or as somebody can be let wait for it.

Any replica can say it. One that wrote the change hears of it from the one reader of all its changes, others from their
visibility table, which follows the same topics. Only why a change was refused may have to be searched for in the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec

from gateway.identity import Identity
from gateway.service import Service
from millrace.client import Outcome
from millrace.errors import DeadlineExceeded, MillraceError
from millrace.events.query import Receipt

_LEAST_S: Final = 0.5
_LATE_S: Final = 5.0
_WHY_S: Final = 2.0
"""How long to search the log for why a change was refused, in seconds."""


async def outcome_of(service: Service, identity: Identity, receipt: Receipt, wait_s: float) -> Outcome | None:
    """Outcome of a caller's own change; None while there is none.

    Parameters
    ----------
    wait_s : float
        How long to wait for it, in seconds.

    Raises
    ------
    Problem
        429 or 503 where too many wait already.
    MillraceError
        Outcomes cannot be read.
    """
    found = await service.library.outcome(identity, receipt)
    if found is not None and _is_told(found):
        return found
    with service.admission.outcome(identity), suppress(DeadlineExceeded, TimeoutError):
        ends_at = asyncio.get_running_loop().time() + max(_LEAST_S, wait_s)
        if service.millrace.waiter.noted(receipt):
            return await _from_log(service, receipt, ends_at)
        if found is None:
            found = await service.library.outcome(identity, receipt, _left_s(ends_at))
        if found is not None and not _is_told(found):
            found = await _told(service, found, min(ends_at, asyncio.get_running_loop().time() + _WHY_S))
    return found if found is not None else await service.library.outcome(identity, receipt)


async def _told(service: Service, found: Outcome, ends_at: float) -> Outcome:
    """The same with its message, if that is found in time."""
    searches = service.admission.searches
    try:
        async with asyncio.timeout_at(ends_at):
            await searches.acquire()
    except TimeoutError:
        return found
    try:
        why = await _from_log(service, found.receipt, ends_at)
    except (MillraceError, TimeoutError):
        return found
    finally:
        searches.release()
    same = (why.outcome, why.version) == (found.outcome, found.version)
    return msgspec.structs.replace(found, message=why.message) if same else found


def _is_told(outcome: Outcome) -> bool:
    """Whether it says all that there is to say: why a change was refused stands in its message."""
    return outcome.good or bool(outcome.message)


async def _from_log(service: Service, receipt: Receipt, ends_at: float) -> Outcome:
    async with asyncio.timeout_at(ends_at + _LATE_S):
        return (await service.millrace.wait(receipt, _left_s(ends_at)))[0]


def _left_s(ends_at: float) -> float:
    return max(0.0, ends_at - asyncio.get_running_loop().time())
