"""Agents whose worker cannot go on, for tests of what a worker says then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

from millrace import Event, Topic, agent
from millrace.errors import ConfigurationError
from millrace.keys import key


class Asked(Event, frozen=True, kw_only=True):
    """A question to nobody."""

    namespace: ClassVar[str] = "test.failing"

    tenant: Annotated[str, "Tenant."]
    n: Annotated[int, "Number."]


def _asked(event: Asked) -> str:
    return key(event.tenant, "x", str(event.n))


ASKED = Topic(name="test.failing.asked.v1", events=(Asked,), key=_asked, group="failing")


@asynccontextmanager
async def broken(settings: Any) -> AsyncIterator[Any]:
    """Ports that cannot be opened."""
    if settings is None:  # what every worker hands over
        raise ConfigurationError("the ledger of the desk is not there; set DESK_LEDGER to its folder")
    yield settings


@agent(source=ASKED, ports=broken)
async def never(event: Asked, ports: Any) -> None:
    """Never run. Delivery: at least once."""
