"""Do the scenario to a running stack, and write down what stands on its log.

A program of its own, run as ``python -P drive.py STEP SCENARIO HOME OUT`` with the checkout on ``PYTHONPATH``: it
imports that checkout's client and visibility table, and only what they had from the first step on.
"""

import base64
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Producer

from millrace import keys
from millrace.codec import Codec
from millrace.connection import Connection, find_connection
from millrace.errors import MillraceError
from millrace.events.query import Receipt
from millrace.reader import LogReader, RawRecord
from millrace.schema_lock import released
from millrace.sync_client import Client
from millrace.topics import (
    ACL_CHANGED,
    ANSWER_PRODUCED,
    CATALOGUE,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    QUERY_RECEIVED,
    SOURCE_CHANGED,
)
from streams.visibility.table import VisibilityTable

TENANT: Final = "acme"
FOLDED: Final = (ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED)
_PUT: Final = ("groups", "labels", "media_type", "trust", "source", "version")
_ASK: Final = ("groups", "labels", "user", "conversation", "mode", "top_k", "exact", "explain")
_QUIET_S: Final = 3.0
_PATIENCE_S: Final = 280.0


class Driver:
    """Does one step after the other, and waits for what becomes of each."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client = client
        self._connection = connection
        self._receipts: list[Receipt] = []
        self._correlations: dict[str, str] = {}
        self._n_letters = 0

    def do(self, step: dict[str, Any]) -> str:
        """Do a step; gives how it ended in a word."""
        act: Callable[[dict[str, Any]], str] = getattr(self, f"_{step['do']}")
        return act(step)

    def _put(self, step: dict[str, Any]) -> str:
        options = {name: step[name] for name in _PUT if name in step}
        return self._settle(self._client.put_document(step["document"], step["content"], **options))

    def _delete(self, step: dict[str, Any]) -> str:
        return self._settle(self._client.delete_document(step["document"]))

    def _acl(self, step: dict[str, Any]) -> str:
        return self._settle(self._client.set_acl(step["document"], step["groups"]))

    def _grant(self, step: dict[str, Any]) -> str:
        return self._settle(self._client.grant(step["document"], step["groups"]))

    def _revoke(self, step: dict[str, Any]) -> str:
        return self._settle(self._client.revoke(step["document"], step["groups"]))

    def _settle(self, receipt: Receipt) -> str:
        """Wait for the outcome; the next question comes after it."""
        found = self._client.wait(receipt, timeout_s=_PATIENCE_S)
        self._receipts.append(receipt)
        return found[0].outcome

    def _ask(self, step: dict[str, Any]) -> str:
        options = {name: step[name] for name in _ASK if name in step}
        after, self._receipts = self._receipts, []
        try:
            answer = self._client.ask(step["question"], after=after, timeout_s=_PATIENCE_S, **options)
        except MillraceError as error:
            return f"{type(error).__name__}: {error}"
        self._correlations[step["conversation"]] = answer.correlation_id
        return "found" if answer.found else "not found"

    def _poison(self, step: dict[str, Any]) -> str:
        """Write bytes that are no event, and wait for their dead letter."""
        producer = Producer(self._connection.librdkafka_producer())
        value = bytes.fromhex(step["value"])
        producer.produce(SOURCE_CHANGED.name, value, key=keys.document_key(TENANT, step["document"]).encode())
        producer.flush(_PATIENCE_S)
        self._n_letters += 1
        until = time.monotonic() + _PATIENCE_S
        while len(records(self._connection, [f"{SOURCE_CHANGED.name}.dlq"])) < self._n_letters:
            if time.monotonic() > until:
                raise TimeoutError(
                    f"no dead letter for {step['document']} after {_PATIENCE_S:g} s; read the worker's log"
                )
            time.sleep(0.1)
        return "dead letter"

    def _feedback(self, step: dict[str, Any]) -> str:
        from millrace.events.feedback import FeedbackGiven  # noqa: PLC0415 - later than the first step

        about = step["conversation"]
        fields = {name: step[name] for name in ("kind", "rating", "text") if name in step}
        self._client.produce(
            FeedbackGiven(tenant=TENANT, conversation=about, correlation=self._correlations[about], **fields)
        )
        return "given"


def records(connection: Connection, topics: list[str]) -> list[RawRecord]:
    """All records of topics, by topic, partition and offset."""
    with LogReader(connection, topics, timeout_s=_PATIENCE_S) as reader:
        return sorted(reader, key=lambda record: (record.topic, record.partition, record.offset))


def settled(connection: Connection) -> list[RawRecord]:
    """Everything on the log, once it is quiet."""
    there = Producer(connection.librdkafka_producer()).list_topics(timeout=_PATIENCE_S).topics
    topics = [name for topic in CATALOGUE.values() for name in (topic.name, topic.dead_letters) if name in there]
    until = time.monotonic() + _PATIENCE_S
    found = records(connection, topics)
    while time.monotonic() < until:
        time.sleep(_QUIET_S)
        before, found = found, records(connection, topics)
        if len(found) == len(before):
            return found
    raise TimeoutError(f"the log still grew after {_PATIENCE_S:g} s; what writes to it?")


def digest(found: list[RawRecord], log_epoch: str) -> str:
    """Digest of the visibility table that this checkout folds out of the records."""
    names = {topic.name for topic in FOLDED}
    with tempfile.TemporaryDirectory() as folder:
        table = VisibilityTable.open(Path(folder) / "visibility.db", Codec(), log_epoch)
        try:
            table.fold([record for record in found if record.topic in names])
            return table.digest()
        finally:
            table.close()


def schemas(found: list[RawRecord]) -> dict[str, Any]:
    """Schemas that the records were written by, by id, as this checkout's lock holds them."""
    written = {int.from_bytes(record.value[1:5], "big") for record in found if record.value and record.value[0] == 0}
    known = {number: released().writer(number) for number in sorted(written)}
    return {str(number): schema for number, schema in known.items() if schema is not None}


def objects(connection: Connection) -> dict[str, bytes]:
    """Content of the object store by reference."""
    return {
        f"sha256:{path.name}": path.read_bytes()
        for path in sorted(Path(connection.objects).rglob("*"))
        if path.is_file() and len(path.name) == 64
    }


def plain(found: Sequence[RawRecord], contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Records and objects as JSON holds them."""
    return {
        "records": [_plain(record) for record in found],
        "objects": {ref: _text(content) for ref, content in contents.items()},
    }


def _plain(record: RawRecord) -> list[Any]:
    headers = [[name, _text(value)] for name, value in record.headers]
    place = [record.topic, record.partition, record.offset, record.timestamp_ms]
    return [*place, _text(record.key), _text(record.value), headers]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def main(arguments: list[str]) -> int:
    """Do the scenario and write the JSON document that `tools.golden.log` makes a log of."""
    step, scenario, home, out = int(arguments[0]), Path(arguments[1]), Path(arguments[2]), Path(arguments[3])
    steps = [each for each in tomllib.loads(scenario.read_text())["step"] if each.get("since", 0) <= step]
    connection = find_connection(home=home)
    with Client(connection, tenant=TENANT, timeout_s=_PATIENCE_S) as client:
        driver = Driver(client, connection)
        for each in steps:
            print(f"{each['do']} {each.get('document') or each['conversation']}: {driver.do(each)}", flush=True)
    found = settled(connection)
    n_asked, n_ended = (
        sum(record.topic == topic.name for record in found) for topic in (QUERY_RECEIVED, ANSWER_PRODUCED)
    )
    if n_ended != n_asked:
        raise RuntimeError(f"{n_asked} questions were asked and {n_ended} have their terminal record; record it again")
    result = {
        "log_epoch": connection.log_epoch,
        "partitions": dict(connection.partitions),
        "digest": digest(found, connection.log_epoch),
        "schemas": schemas(found),
        **plain(found, objects(connection)),
    }
    out.write_bytes(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
