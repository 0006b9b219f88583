"""Which question an event belongs to."""

from millrace.event import Event


def correlation_of(event: Event) -> str:
    """Correlation id of the question that an event belongs to."""
    return event.meta.correlation_id or event.meta.id
