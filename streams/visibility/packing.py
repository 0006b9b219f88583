"""Records as they are kept in the table's file: key, value and headers, byte for byte.

Most of a record is identifiers and digests as hexadecimal text. Those are cut out and kept as bytes, chunk ids first,
so that they can be looked at without unpacking; the rest is deflated. A record is about a kilobyte, too short to be
compressed alone: a preset dictionary holds what nearly all of them share. Layout and dictionary belong to the file
format: a change is a new format version.
"""

import zlib
from collections.abc import Iterable, Sequence

import msgspec

RecordBytes = tuple[bytes, bytes, list[tuple[str, bytes]]]

CHUNK_ID_BYTES = 16
_HEAD = 4
_UUID_LENGTH, _DIGEST_LENGTH = 36, 64
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
_decode_pieces = msgspec.msgpack.Decoder(tuple[bytes, list[bytes]]).decode
_deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
_inflate = zlib.decompressobj(_WINDOW, _DICTIONARY)


def pack(
    key: bytes,
    value: bytes,
    headers: Sequence[tuple[str, bytes]],
    chunk_ids: Iterable[str] = (),
    identifiers: tuple[Iterable[str], Iterable[str]] = ((), ()),
) -> bytes:
    """Pack a record.

    Parameters
    ----------
    chunk_ids : iterable of str
        Chunk ids in the order in which they stand in `value`.
    identifiers : pair of iterables of str
        UUIDs and SHA-256 digests (hex) that stand before the chunk ids, and after them, in order. What is not found,
        or is written differently, stays where it is.
    """
    raw = _encode((key, value, headers))
    kinds, pieces, at = bytearray(), [], 0
    cut: tuple[list[bytes], list[bytes]] = ([], [])
    for is_chunk, texts in ((0, identifiers[0]), (1, chunk_ids), (0, identifiers[1])):
        for text in texts:
            found = _compact(text)
            start = raw.find(text.encode(), at) if found else -1
            if start >= 0:
                pieces.append(raw[at:start])
                at = start + len(text)
                cut[is_chunk].append(found)
                kinds.append(is_chunk << 7 | len(found))
    pieces.append(raw[at:])
    stream = _deflate.copy()
    rest = stream.compress(_encode((bytes(kinds), pieces))) + stream.flush()
    ids, others = b"".join(cut[1]), b"".join(cut[0])
    return len(ids).to_bytes(_HEAD, "big") + len(others).to_bytes(_HEAD, "big") + ids + others + rest


def packed_chunk_ids(packed: bytes) -> bytes:
    """Chunk ids that were cut out of a record, 16 bytes each."""
    n = int.from_bytes(packed[:_HEAD], "big")
    return packed[2 * _HEAD : 2 * _HEAD + n]


def unpack(packed: bytes) -> RecordBytes:
    """Record as it was packed.

    Raises
    ------
    ValueError
        If the bytes are damaged.
    """
    others = 2 * _HEAD + int.from_bytes(packed[:_HEAD], "big")
    rest = others + int.from_bytes(packed[_HEAD : 2 * _HEAD], "big")
    positions = [others, 2 * _HEAD]
    try:
        kinds, pieces = _decode_pieces(_inflate.copy().decompress(packed[rest:]))
        parts = [pieces[0]]
        for kind, piece in zip(kinds, pieces[1:], strict=True):
            is_chunk, size = kind >> 7, kind & 0x7F
            at = positions[is_chunk]
            positions[is_chunk] = at + size
            parts += (_spell(packed[at : at + size]), piece)
        return _decode(b"".join(parts))
    except (zlib.error, msgspec.DecodeError, IndexError, ValueError) as error:
        raise ValueError(f"a packed record of {len(packed)} bytes is damaged: {error}") from error


def _spell(found: bytes) -> bytes:
    """Text of an identifier: a lower-case UUID with dashes for 16 bytes, plain hexadecimal for 32."""
    text = found.hex()
    if len(found) == CHUNK_ID_BYTES:
        text = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return text.encode()


def _compact(text: str) -> bytes:
    """Bytes of an identifier, empty unless `_spell` gives back exactly its text."""
    if len(text) == _UUID_LENGTH and text[8] == text[13] == text[18] == text[23] == "-":
        plain = text.replace("-", "")
    elif len(text) == _DIGEST_LENGTH:
        plain = text
    else:
        return b""
    try:
        found = bytes.fromhex(plain)
    except ValueError:
        return b""
    return found if found.hex() == plain and len(found) in (CHUNK_ID_BYTES, _DIGEST_LENGTH // 2) else b""
