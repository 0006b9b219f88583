"""The examples that count, folded from the log, and their contents."""

from collections.abc import Callable, Iterable, Iterator

from millrace.connection import Connection
from millrace.errors import ConfigurationError, ObjectMissing
from millrace.event import Event
from millrace.events.learn import ExampleCurated, ExampleRejected
from millrace.examples.content import ExampleContent, decode
from millrace.keys import key
from millrace.objects import ObjectFolder
from millrace.reader import read
from millrace.topics import EXAMPLE_CURATED

Loaded = tuple[ExampleCurated, ExampleContent | None]
"""An example and what its object holds; None where that was erased."""


class Curation:
    """Examples that were taken and not replaced or withdrawn since, and what was rejected.

    Attributes
    ----------
    examples : dict of str to ExampleCurated
        By id, oldest first; of one id the last record counts.
    rejected : list of ExampleRejected
        In the order of the log.
    """

    def __init__(self) -> None:
        self.examples: dict[str, ExampleCurated] = {}
        self.rejected: list[ExampleRejected] = []
        self._seen: set[str] = set()

    def fold(self, event: Event) -> None:
        """Take the next event; of one cause the first outcome counts, whatever is said of it when it comes again."""
        cause = event.meta.causation_id or event.meta.id
        if cause in self._seen:
            return
        self._seen.add(cause)
        if isinstance(event, ExampleCurated):
            self.examples.pop(event.replaces, None)
            self.examples.pop(event.example, None)
            self.examples[event.example] = event
        elif isinstance(event, ExampleRejected):
            self.rejected.append(event)
            known = self.examples.get(event.example)
            if event.reason == "disliked" and known is not None and known.correlation == event.correlation:
                del self.examples[event.example]


def read_curation(connection: Connection, tenant: str, progress: Callable[[int, int], None] | None = None) -> Curation:
    """Fold what the log holds of a tenant's examples.

    Raises
    ------
    ContractError, LogTruncated, Unavailable, ConfigurationError
        See `millrace.reader.read`.
    """
    found = Curation()
    for event in read(connection, [EXAMPLE_CURATED], keys={key(tenant)}, progress=progress):
        if event.tenant == tenant:
            found.fold(event)
    return found


def object_folder(connection: Connection) -> ObjectFolder:
    """Where the texts of examples are.

    Raises
    ------
    ConfigurationError
        If that is not known.
    """
    folder = connection.objects_folder
    if folder is None:
        raise ConfigurationError(
            "where the stack keeps its objects is not known, so the texts of examples cannot be read; give --objects, "
            "or set MILLRACE_OBJECTS"
        )
    return ObjectFolder(folder)


def load(examples: Iterable[ExampleCurated], objects: ObjectFolder) -> Iterator[Loaded]:
    """Contents of examples, one by one.

    Raises
    ------
    ObjectTampered
        If an object is not what its reference says.
    ContractError
        If it is no example.
    Unavailable
        If the folder cannot be read.
    """
    for example in examples:
        try:
            data = objects.get_sync(example.ref)
        except ObjectMissing:
            yield example, None
        else:
            yield example, decode(example.ref, data)
