"""Records as they are kept in the table's file: key, value and headers, byte for byte, deflated.

A record is about a kilobyte, too short to be compressed alone: a preset dictionary holds what nearly all of them
share. It belongs to the file format: changing a byte of it is a new format version.
"""

import zlib
from collections.abc import Sequence

import msgspec

RecordBytes = tuple[bytes, bytes, list[tuple[str, bytes]]]

_WINDOW, _MEMORY, _LEVEL = -13, 7, 6
_DICTIONARY = (
    b"0123456789abcdef-reply-to reply-partition deadline untrusted\x0etrusted\x04 lang en source title .txt files app "
    b"\x02\x8e\x01sha256:\x00\x02\x8e\x01sha256:\x04\x80\x01\x02\x8e\x01sha256:.all-MiniLM-L6-v2/int8/1 ce_subject "
    b"\x9a\xc4\x18t/default/d/.md\x0edefault\x00\x02\x00\x00\x00H\x00\x00H>corpus.source.changed.v1/"
    b"\x92\xa7ce_type\xc4\x1amillrace.corpus.AclChanged\x92\xa9ce_source\xc4\x05"
    b"\x92\xaece_specversion\xc4\x031.0\x92\xa5ce_id\xc4$\x92\xa7ce_type\xc4\x1fmillrace.corpus.DocumentIndexed"
    b"\x92\xa9ce_source\xc4\x05index\x92\xa7ce_time\xc4\x1b2026-01-01T00:00:00.000000Z\x92\xa9ce_tenant\xc4\x07default"
    b"\x92\xaccontent-type\xc4\x10application/avro\x92\xb0ce_correlationid\xc4$\x92\xaece_causationid\xc4$"
    b"\x92\xabtraceparent\xc4700--01"
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, bytes, list[tuple[str, bytes]]]).decode
# Z_FILTERED ignores matches of a few characters, which in hexadecimal text are chance and cost more than they save.
_deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_FILTERED, _DICTIONARY)
_inflate = zlib.decompressobj(_WINDOW, _DICTIONARY)


def pack(key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> bytes:
    """Pack a record."""
    stream = _deflate.copy()
    return stream.compress(_encode((key, value, headers))) + stream.flush()


def unpack(packed: bytes) -> RecordBytes:
    """Record as it was packed.

    Raises
    ------
    ValueError
        If the bytes are damaged.
    """
    try:
        return _decode(_inflate.copy().decompress(packed))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"a packed record of {len(packed)} bytes is damaged: {error}") from error
