"""The file of a golden log: JSON lines in gzip, the same bytes for the same records.

First a line on the recording, then one for each record in the order of topic, partition and offset, then one for each
object that records refer to.
"""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from millrace.errors import ConfigurationError
from millrace.reader import RawRecord

FORMAT: Final = 1


class GoldenLog(msgspec.Struct, frozen=True, kw_only=True):
    """What one step left on its log.

    Attributes
    ----------
    step : int
        Step of the project's history.
    commit : str
        Commit that was recorded.
    log_epoch : str
        Life of the log, which watermarks name.
    partitions : mapping of str to int
        Partitions by topic.
    digest : str
        Digest of the visibility table, by the code that was recorded.
    schemas : mapping of str to Any
        Schemas that the records were written by, by id.
    records : sequence of RawRecord
        All records of all topics, dead letters included.
    objects : mapping of str to bytes
        Content of the object store, by reference.
    """

    step: int
    commit: str
    log_epoch: str
    partitions: Mapping[str, int]
    digest: str
    schemas: Mapping[str, Any]
    records: Sequence[RawRecord]
    objects: Mapping[str, bytes]

    def of(self, *topics: str) -> list[RawRecord]:
        """Records of topics."""
        return [record for record in self.records if record.topic in topics]


def write(path: Path, step: int, commit: str, found: Mapping[str, Any]) -> int:
    """Write what `tools.golden.drive` found; gives the size in bytes."""
    head = {name: found[name] for name in ("log_epoch", "partitions", "digest", "schemas")}
    lines: list[Any] = [{"format": FORMAT, "step": step, "commit": commit, **head}]
    lines += [["record", *record] for record in found["records"]]
    lines += [["object", *each] for each in sorted(found["objects"].items())]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    data = gzip.compress(text.encode(), 9, mtime=0)
    path.write_bytes(data)
    return len(data)


def read(path: Path) -> GoldenLog:
    """Read a golden log.

    Raises
    ------
    ConfigurationError
        If it has another format.
    """
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    head, *rest = (json.loads(line) for line in lines)
    if head.pop("format", None) != FORMAT:
        raise ConfigurationError(f"{path} is no golden log of format {FORMAT}; record it again with `tools.golden`")
    return GoldenLog(**head, records=list(_records(rest)), objects=dict(_objects(rest)))


def _records(lines: Sequence[list[Any]]) -> Iterator[RawRecord]:
    for kind, *fields in lines:
        if kind == "record":
            topic, partition, offset, timestamp_ms, key, value, headers = fields
            plain = [(name, _bytes(text) or b"") for name, text in headers]
            yield RawRecord(topic, partition, offset, timestamp_ms, _bytes(key), _bytes(value), plain)


def _objects(lines: Sequence[list[Any]]) -> Iterator[tuple[str, bytes]]:
    for kind, *fields in lines:
        if kind == "object":
            yield fields[0], base64.b64decode(fields[1])


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
