"""The codec for a stack: numbered by its schema registry where it has one, else by fingerprint."""

from collections.abc import Iterable

from millrace import schema_folder
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.event import Event
from millrace.registered import Registered
from millrace.registry import Registry


def codec_of(connection: Connection, events: Iterable[type[Event]] | None = None) -> Codec:
    """Codec that writes what a stack's readers can resolve, and reads what its writers of other releases write.

    Parameters
    ----------
    connection : Connection
        The stack. A registry is not asked here, only when an id is needed.
    events : iterable of type, optional
        Event classes; all of Millrace's catalogue by default.

    Raises
    ------
    ConfigurationError
        If the registry's URL is malformed.
    """
    if connection.registry is not None:
        registered = Registered(Registry(connection.registry))
        return Codec(events, ids=registered.id_of, writers=registered.schema)
    folder = connection.objects_folder
    return Codec(events, writers=None if folder is None else schema_folder.writers(folder))
