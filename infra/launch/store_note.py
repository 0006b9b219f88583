"""Which vector store holds what a log says is indexed, noted in the home folder: questions find no other rows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from infra.launch.broker import broker_connection
from infra.launch.home import write_private
from infra.launch.stack import Stack
from infra.settings import Settings
from millrace.errors import ConfigurationError
from millrace.topics import DOCUMENT_INDEXED

_NOTES: Final = "vector-store.json"
_EMBEDDED: Final = "embedded"
_ASK_S: Final = 20.0


def check_store(settings: Settings, stack: Stack) -> None:
    """Note where the rows of this log are; refuse to look for them elsewhere, once there are any.

    Raises
    ------
    ConfigurationError
        The log says that documents are indexed, and was written with another store.
    """
    path, log = settings.home / _NOTES, _EMBEDDED if stack.control else stack.log_epoch
    noted, chosen = _read(path), _store(settings)
    before = noted.get(log, chosen)
    if before != chosen and _has_documents(settings, stack):
        raise ConfigurationError(
            f"the documents of this log are indexed in {before}, and the settings name {chosen}, where no question "
            "would find them; set stores.kind, stores.vectors or weaviate.collection back, or use another folder with "
            f"--home and ingest them anew; if you have moved the rows there, remove {path}"
        )
    if noted.get(log) != chosen:
        write_private(path, msgspec.json.format(msgspec.json.encode({**noted, log: chosen}), indent=1).decode() + "\n")


def _store(settings: Settings) -> str:
    """The store of the settings in words; a folder in the home is named from there, so that a home can be moved."""
    if settings.stores.kind == "weaviate":
        return f"weaviate, collection {settings.weaviate.collection}"
    folder = settings.vectors
    return f"lance, folder {folder.relative_to(settings.home) if folder.is_relative_to(settings.home) else folder}"


def _has_documents(settings: Settings, stack: Stack) -> bool:
    """Whether any document was ever indexed by this log; where nobody may look, there could be some."""
    client = AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    topic = DOCUMENT_INDEXED.name
    try:
        found = client.list_topics(topic, _ASK_S).topics[topic]
        asked = {TopicPartition(topic, number): latest for number in found.partitions}
        return any(each.result().offset > 0 for each in client.list_offsets(asked, request_timeout=_ASK_S).values())
    except KafkaException:
        return True


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}); remove it if stores.kind and weaviate.collection are as they were"
        ) from error
