"""The examples that count, folded from the log, and their contents."""

from collections.abc import Callable, Collection, Iterable, Iterator

from millrace.connection import Connection
from millrace.errors import ConfigurationError, ObjectMissing
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentIndexed
from millrace.events.learn import ExampleCurated, ExampleRejected
from millrace.examples.content import ExampleContent, decode
from millrace.keys import document_key, key
from millrace.objects import ObjectFolder
from millrace.reader import read
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, EXAMPLE_CURATED
from millrace.withdrawal import is_withdrawn

Loaded = tuple[ExampleCurated, ExampleContent | None]
"""An example and what its object holds; None where that was erased."""


class Curation:
    """Examples that were taken and not replaced or withdrawn since, and what was rejected or is withheld.

    Of a question the newest correction counts, else the newest approved answer, however long ago it was taken: whoever
    takes examples looks back a few weeks only.

    Attributes
    ----------
    examples : dict of str to ExampleCurated
        By id, oldest first; of one id the last record counts.
    rejected : list of ExampleRejected
        In the order of the log.
    withheld : dict of str to ExampleCurated
        By id, those whose document nobody may read at present.
    """

    def __init__(self) -> None:
        self.examples: dict[str, ExampleCurated] = {}
        self.rejected: list[ExampleRejected] = []
        self.withheld: dict[str, ExampleCurated] = {}
        self._seen: set[str] = set()
        self._by_question: dict[str, str] = {}
        self._by_answer: dict[str, str] = {}

    def fold(self, event: Event) -> None:
        """Take the next event; of one cause the first outcome counts, whatever is said of it when it comes again."""
        cause = event.meta.causation_id or event.meta.id
        if cause in self._seen:
            return
        self._seen.add(cause)
        if isinstance(event, ExampleCurated):
            self._take(event)
        elif isinstance(event, ExampleRejected):
            self.rejected.append(event)
            self._withdraw(event)

    def withhold(self, documents: Collection[str]) -> None:
        """Let the examples of these documents count no more."""
        self.withheld |= {name: each for name, each in self.examples.items() if each.document in documents}
        self.examples = {name: each for name, each in self.examples.items() if name not in self.withheld}

    def _take(self, event: ExampleCurated) -> None:
        self.examples.pop(event.replaces, None)
        if event.question:
            known = self.examples.get(self._by_question.get(event.question, ""))
            if known is not None and (known.source, event.source) == ("correction", "approved"):
                return
            if known is not None:
                del self.examples[known.example]
            self._by_question[event.question] = event.example
        self.examples.pop(event.example, None)
        self.examples[event.example] = event
        if event.source == "approved":
            self._by_answer[event.correlation] = event.example

    def _withdraw(self, event: ExampleRejected) -> None:
        """Let an approved answer count no more that is disliked or corrected now; its own answer alone can say so."""
        corrected = event.source == "correction"
        name = self._by_answer.get(event.correlation, "") if corrected else event.example
        known = self.examples.get(name)
        if known is None or known.correlation != event.correlation:
            return
        if event.reason == "disliked" or (corrected and known.source == "approved" and name != event.example):
            del self.examples[name]


def read_curation(connection: Connection, tenant: str, progress: Callable[[int, int], None] | None = None) -> Curation:
    """Fold what the log holds of a tenant's examples; those of documents that are gone are withheld.

    Raises
    ------
    ContractError, LogTruncated, Unavailable, ConfigurationError
        See `millrace.reader.read`.
    """
    found = Curation()
    for event in read(connection, [EXAMPLE_CURATED], keys={key(tenant)}, progress=progress):
        if event.tenant == tenant:
            found.fold(event)
    found.withhold(gone(connection, tenant, {each.document for each in found.examples.values() if each.document}))
    return found


def gone(connection: Connection, tenant: str, documents: Collection[str]) -> set[str]:
    """Those of these documents that were withdrawn, or deleted at their source; a release takes a withdrawal back.

    Of a document the record with the highest order counts, of two with the same the later one. What the log says
    nothing of is not gone, and a record that breaks the contract says nothing.

    Raises
    ------
    ContractError, LogTruncated, Unavailable, ConfigurationError
        See `millrace.reader.read`.
    """
    versions: dict[str, DocumentIndexed] = {}
    access: dict[str, AclChanged] = {}
    if documents:
        keys = {document_key(tenant, document) for document in documents}
        for event in read(
            connection, [DOCUMENT_INDEXED, ACL_CHANGED], keys=keys, on_error=lambda _record, _error: None
        ):
            if event.tenant != tenant or not isinstance(event, DocumentIndexed | AclChanged):
                continue
            if isinstance(event, DocumentIndexed):
                known = versions.get(event.document)
                if known is None or known.order <= event.order:
                    versions[event.document] = event
            else:
                before = access.get(event.document)
                if before is None or before.version <= event.version:
                    access[event.document] = event
    found = {document for document, each in versions.items() if each.deleted}
    found |= {document for document, each in access.items() if is_withdrawn(each.groups)}
    return found & set(documents)


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
