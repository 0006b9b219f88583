"""Events of the ticket desk and the topics that carry them."""

from typing import Annotated, ClassVar

from millrace import Event, Topic
from millrace.keys import key


class TicketOpened(Event, frozen=True, kw_only=True):
    """A customer wrote in."""

    namespace: ClassVar[str] = "desk"

    tenant: Annotated[str, "Whose desk it is."]
    ticket: Annotated[str, "Ticket id."]
    text: Annotated[str, "What the customer wrote."]


class TicketEscalated(Event, frozen=True, kw_only=True):
    """A ticket that cannot wait."""

    namespace: ClassVar[str] = "desk"

    tenant: Annotated[str, "Whose desk it is."]
    ticket: Annotated[str, "Ticket id."]
    words: Annotated[tuple[str, ...], "Words that made it urgent."]


def _ticket(event: TicketOpened | TicketEscalated) -> str:
    return key(event.tenant, "k", event.ticket)


TICKETS_OPENED = Topic(name="desk.ticket.opened.v1", events=(TicketOpened,), key=_ticket, group="desk")
TICKETS_ESCALATED = Topic(name="desk.ticket.escalated.v1", events=(TicketEscalated,), key=_ticket, group="desk")
