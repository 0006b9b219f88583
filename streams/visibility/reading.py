"""Read DocumentIndexed records without decoding their chunks, which are most of a record and are only counted.

A chunk list in the form that the codec writes (one block, chunk ids as lower-case UUIDs) is walked to its end by a
regular expression; what stands before and after it is decoded with the writer's own schema. Everything else goes
through `Codec.read`, so nothing is accepted here that is refused there.
"""

from __future__ import annotations

import io
from typing import Any, Final

import msgspec
from fastavro import parse_schema, schemaless_reader

from millrace.codec import Codec, Headers
from millrace.event import Origin
from millrace.events.corpus import DocumentIndexed
from millrace.topics import DOCUMENT_INDEXED
from streams.visibility.packing import ChunkList, cut_chunks

_HEAD: Final = 5


class Walked(msgspec.Struct, frozen=True, gc=False):
    """A version as it was read.

    Attributes
    ----------
    event : DocumentIndexed
        The version, without its chunks where `chunks` is there.
    chunks : ChunkList or None
        The chunks as they stand in the record; None where all of it was decoded.
    """

    event: DocumentIndexed
    chunks: ChunkList | None

    @property
    def n_chunks(self) -> int:
        """How many chunks it lists."""
        return len(self.event.chunks) if self.chunks is None else self.chunks.n_chunks


class VersionReader:
    """Reads records of ``corpus.document.indexed.v1``.

    Parameters
    ----------
    codec : Codec
        Decides what is accepted, and decodes what was written with another schema than today's.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._known: dict[bytes, tuple[Any, Any]] = {}
        for number, schema in codec.schemas().items():
            if f"{schema['namespace']}.{schema['name']}" == DocumentIndexed.type_name():
                fields = schema["fields"]
                at = [field["name"] for field in fields].index("chunks")
                before = parse_schema({**schema, "name": "BeforeChunks", "fields": fields[:at]})
                after = parse_schema({**schema, "name": "AfterChunks", "fields": fields[at + 1 :]})
                self._known[b"\x00" + number.to_bytes(4, "big")] = (before, after)

    def read(self, key: bytes | None, value: bytes | None, headers: Headers, origin: Origin) -> Walked:
        """Version of a record; checked as `Codec.read` checks it.

        Raises
        ------
        ContractError
            See `Codec.read`.
        """
        walked = self._walk(value) if value is not None else None
        if walked is not None:
            self._codec.admit(DOCUMENT_INDEXED, walked.event, key, headers, origin)
            return walked
        event = self._codec.read(DOCUMENT_INDEXED, key, value, headers, origin)
        if not isinstance(event, DocumentIndexed):
            raise TypeError(f"{DOCUMENT_INDEXED.name} gave a {type(event).__name__}")
        return Walked(event, None)

    def _walk(self, value: bytes) -> Walked | None:
        """Decode all but the chunks; None for whatever is not exactly in the form known here."""
        known = self._known.get(value[:_HEAD])
        if known is None:
            return None
        body = io.BytesIO(value)
        body.seek(_HEAD)
        try:
            plain: Any = schemaless_reader(body, known[0], None)
            chunks = cut_chunks(value, body.tell())
            if chunks is None:
                return None
            body.seek(chunks.end)
            plain |= schemaless_reader(body, known[1], None)
            if body.tell() != len(value):
                return None
            return Walked(msgspec.convert(plain, DocumentIndexed), chunks)
        except Exception:  # noqa: BLE001 - the codec says what is wrong with it
            return None
