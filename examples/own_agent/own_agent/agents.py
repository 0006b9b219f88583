"""Escalate urgent tickets.

Delivery: at least once; an escalation has an id derived from its ticket's, so a redelivery repeats it and readers drop
the copy.
"""

from millrace import agent
from own_agent.events import TICKETS_ESCALATED, TICKETS_OPENED, TicketEscalated, TicketOpened

URGENT = frozenset({"outage", "down", "urgent", "breach"})


@agent(source=TICKETS_OPENED, sinks=(TICKETS_ESCALATED,))
def escalate(ticket: TicketOpened) -> TicketEscalated | None:
    """Pass on a ticket that names something urgent."""
    words = tuple(sorted(URGENT & set(ticket.text.lower().split())))
    return TicketEscalated(tenant=ticket.tenant, ticket=ticket.ticket, words=words) if words else None
