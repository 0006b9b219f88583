"""Records as they are kept in the table's file: key, value and headers, byte for byte.

Most of a record is identifiers, digests and times as text. Those are kept as bytes, chunk ids first, so that these can
be looked at without unpacking. What the row of the document says already (tenant, name, key) is left out, headers that
all records share are numbers, and what remains is deflated where it is long enough. A record is about a kilobyte, too
short to be compressed alone: a preset dictionary holds what nearly all of them share. Layout, tables and dictionary
belong to the file format: a change is a new format version.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from millrace.keys import document_key

Name = tuple[str, str]
"""Tenant and document."""

RecordBytes = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""Key, value, headers."""

CHUNK_ID_BYTES: Final = 16
_COUNT: Final = 3
_MAX_STORED: Final = 250  # bytes; to deflate what is shorter would take a sixth of the time of a fold

_UUID: Final = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_LONG: Final = rb"[\x80-\xff]{0,8}[\x00-\x7f]"  # at most nine bytes
_CHUNKS: Final = re.compile(rb"(?s)(?:(%b)(?:H.{36}(?:%b){4})++)?\x00" % (_LONG, _LONG))
_CHUNK: Final = re.compile(rb"(?s)H(.{36})((?:%b){4})" % _LONG)
_ID: Final = re.compile(rb"H(%b)" % _UUID)
_AROUND: Final = re.compile(rb"(?:%b){4}" % _LONG)
_DIGEST: Final = re.compile(rb"\x01(?:sha256:)?([0-9a-f]{64})")

# Digits with punctuation in fixed places, by the length of the text: uuid, digest, traceparent, times.
_FORMS: Final = {
    36: re.compile(_UUID),
    55: re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    27: re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
}
_PUNCTUATION: Final = b"-T:.Z"
_BYTES: Final = {36: 16, 64: 32, 55: 26, 27: 10}
_GIVEN: Final = 0  # in place of a form: the tenant in headers, the document in the value

_CONSTANTS: Final[Sequence[tuple[str, bytes]]] = (
    ("ce_specversion", b"1.0"),
    ("content-type", b"application/avro"),
    ("ce_type", b"millrace.corpus.DocumentIndexed"),
    ("ce_type", b"millrace.corpus.AclChanged"),
    ("ce_source", b"millrace/agent/index"),
    ("ce_source", b"millrace/agent/featurize"),
)
_NAMES: Final[Sequence[tuple[str, int]]] = (  # with the form that most values have
    ("ce_id", 36), ("ce_time", 27), ("ce_correlationid", 36), ("ce_causationid", 36), ("traceparent", 55),
    ("ce_tenant", 0), ("ce_source", 0), ("ce_type", 0), ("ce_subject", 0), ("tracestate", 0), ("reply-to", 0),
)  # fmt: skip
_NUMBERS: Final = {constant: number for number, constant in enumerate(_CONSTANTS)}
_FORM_OF: Final = {name: (-1 - number, form) for number, (name, form) in enumerate(_NAMES)}
_DICTIONARY: Final = (
    b"0123456789untrusted\x0etrusted\x04 lang en source title team > .txt app \nfiles\x00\x01\x02\x04\x06\x08\x0a"
    b"\xc4\x02\x02\xc4\x03\x00\x02\x00.all-MiniLM-L6-v2/int8/1\x06\x00\x02\xc4\x0a\x0edefault\x00\x02\x00\x00\x02"
    b"\x00\x02\xc4\x09\x02\x8e\x01sha256:\x40\xc4\x02\x02\x00\x14\x00\x00\x00\nfiles8corpus.source.changed.v1/"
)
_encode = msgspec.msgpack.Encoder().encode
_decode: Any = msgspec.msgpack.Decoder().decode
_deflate = zlib.compressobj(1, zlib.DEFLATED, -11, 4, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
_inflate = zlib.decompressobj(-11, _DICTIONARY)


class ChunkList(msgspec.Struct, frozen=True, gc=False):
    """A chunk list cut out of a record's value.

    Attributes
    ----------
    start, end : int
        Where it stands in the value.
    ids : bytes
        Chunk ids, 16 bytes each.
    rest : bytes
        The list without them.
    """

    start: int
    end: int
    ids: bytes
    rest: bytes

    @property
    def n_chunks(self) -> int:
        """How many chunks it has."""
        return len(self.ids) // CHUNK_ID_BYTES


def cut_chunks(value: bytes, start: int) -> ChunkList | None:
    """Walk the Avro array of chunks that begins at `start`.

    Returns
    -------
    ChunkList or None
        None unless it stands there in the form that the codec writes: one block, all ids lower-case UUIDs.
    """
    found = _CHUNKS.match(value, start)
    if found is None:
        return None
    count = found[1]
    if count is None:
        return ChunkList(start, found.end(), b"", b"\x00")
    chunks = _CHUNK.findall(value, found.end(1), found.end())
    ids = _uuids(b"".join([chunk[0] for chunk in chunks]), len(chunks))
    if ids is None or count != _long(len(chunks)):
        return None
    return ChunkList(start, found.end(), ids, b"".join([count, *(chunk[1] for chunk in chunks), b"\x00"]))


def _uuids(text: bytes, n: int) -> bytes | None:
    """Bytes of `n` lower-case UUIDs that stand side by side; None if they are something else."""
    digits = text.translate(None, b"-")
    dashes = b"-" * n
    if len(digits) != 32 * n or not (text[8::36] == text[13::36] == text[18::36] == text[23::36] == dashes):
        return None
    try:
        found = bytes.fromhex(digits.decode())
    except ValueError:
        return None
    return found if found.hex().encode() == digits else None


def pack(name: Name, record: RecordBytes, chunks: ChunkList | None = None) -> bytes:
    """Pack a record.

    Parameters
    ----------
    name : tuple of str
        Its tenant and document, which `unpack` is given again.
    chunks : ChunkList, optional
        The chunk list of its value.
    """
    key, value, headers = record
    tenant, document = name
    texts: list[bytes] = []
    coded = _pack_headers(tenant, headers, texts)
    start, end = (len(value), len(value)) if chunks is None else (chunks.start, chunks.end)
    before, found, after = value[:start].partition(document.encode() or b"\x00")
    head = [before, _GIVEN] if found and document else []
    head += _cut(_DIGEST, after if head else value[:start], texts)
    tail = _cut(_ID, value[end:], texts)
    ids, rest = (b"", b"") if chunks is None else (chunks.ids, chunks.rest)
    kept = None if chunks is None else len(rest)
    plain = _encode((None if key == document_key(tenant, document).encode() else key, coded, head, kept, tail))
    if len(plain) <= _MAX_STORED:
        packed = bytes((len(plain),)) + plain
    else:
        stream = _deflate.copy()
        packed = b"\x00" + stream.compress(plain) + stream.flush()
    return (len(ids) // CHUNK_ID_BYTES).to_bytes(_COUNT, "big") + ids + packed + rest + _digits(texts)


def packed_chunk_ids(packed: bytes) -> bytes:
    """Chunk ids that were cut out of a record, 16 bytes each."""
    return packed[_COUNT : _COUNT + int.from_bytes(packed[:_COUNT], "big") * CHUNK_ID_BYTES]


def unpack(name: Name, packed: bytes) -> RecordBytes:
    """Record as it was packed.

    Raises
    ------
    ValueError
        If the bytes are damaged.
    """
    try:
        ids = packed_chunk_ids(packed)
        plain, binaries = _inflated(packed[_COUNT + len(ids) :])
        key, coded, head, kept, tail = _decode(plain)
        rest, binaries = binaries[: kept or 0], binaries[kept or 0 :]
        headers, at = _unpack_headers(name[0], coded, binaries)
        before, at = _join(name[1], head, binaries, at)
        after, at = _join(name[1], tail, binaries, at)
        if at != len(binaries):
            raise ValueError(f"{len(binaries) - at} bytes too many")
        value = before + (_with_ids(rest, ids) if kept is not None else b"") + after
        return document_key(*name).encode() if key is None else key, value, headers
    except (zlib.error, msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"a packed record of {len(packed)} bytes is damaged: {error}") from error


def _inflated(packed: bytes) -> tuple[bytes, bytes]:
    """What was encoded, and the bytes that were cut out of it."""
    length = packed[0]
    if length:
        return packed[1 : 1 + length], packed[1 + length :]
    stream = _inflate.copy()
    plain = stream.decompress(packed[1:])
    if not stream.eof:
        raise ValueError("its end is missing")
    return plain, stream.unused_data


def _pack_headers(tenant: str, headers: Sequence[tuple[str, bytes]], texts: list[bytes]) -> list[Any]:
    """Numbers of the headers that are constants; else name, then value or form."""
    owner = tenant.encode()
    coded: list[Any] = []
    for header in headers:
        name, value = header
        code, form = _FORM_OF.get(name, (name, 0))
        if form and value and _FORMS[form].fullmatch(value):
            coded += (code, form)
            texts.append(value)
        elif (number := _NUMBERS.get(header)) is not None:
            coded.append(number)
        else:
            coded += (code, _GIVEN if value == owner else value)
    return coded


def _unpack_headers(tenant: str, coded: list[Any], binaries: bytes) -> tuple[list[tuple[str, bytes]], int]:
    headers: list[tuple[str, Any]] = []  # a header may have no value, whatever its type says
    at, codes = 0, iter(coded)
    for code in codes:
        if isinstance(code, int) and code >= 0:
            headers.append(_CONSTANTS[code])
            continue
        name = _NAMES[-1 - code][0] if isinstance(code, int) else code
        part = next(codes)
        value, at = _join(tenant, [part], binaries, at) if part is not None else (part, at)
        headers.append((name, value))
    return headers, at


def _digits(texts: Iterable[bytes]) -> bytes:
    """Texts of known forms as bytes, without their punctuation."""
    return bytes.fromhex(b"".join(texts).translate(None, _PUNCTUATION).decode())


def _cut(pattern: re.Pattern[bytes], data: bytes, texts: list[bytes]) -> list[Any]:
    """Pieces of a value with forms between them, in place of what `pattern` found, which goes to `texts`."""
    parts: list[Any] = []
    at = 0
    for found in pattern.finditer(data):
        start, end = found.span(1)
        parts += (data[at:start], end - start)
        texts.append(data[start:end])
        at = end
    parts.append(data[at:])
    return parts


def _join(given: str, parts: list[Any], binaries: bytes, at: int) -> tuple[bytes, int]:
    """Undo `_cut`: the bytes, and where the next identifier stands."""
    found = []
    for part in parts:
        if isinstance(part, int) and part != _GIVEN:
            end = at + _BYTES[part]
            found.append(_spell(part, binaries[at:end]).encode())
            at = end
        else:
            found.append(given.encode() if part == _GIVEN else part)
    return b"".join(found), at


def _spell(form: int, found: bytes) -> str:
    """Put the punctuation of a form back."""
    if len(found) != _BYTES[form]:
        raise ValueError("an identifier is cut short")
    t = found.hex()
    match form:
        case 36:
            return f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}"
        case 55:
            return f"{t[:2]}-{t[2:34]}-{t[34:50]}-{t[50:]}"
        case 27:
            return f"{t[:4]}-{t[4:6]}-{t[6:8]}T{t[8:10]}:{t[10:12]}:{t[12:14]}.{t[14:]}Z"
        case _:
            return t


def _with_ids(rest: bytes, ids: bytes) -> bytes:
    """Undo `cut_chunks`."""
    if not ids:
        return rest
    start = len(_long(len(ids) // CHUNK_ID_BYTES))
    pieces = [rest[:start]]
    for n, numbers in enumerate(_AROUND.findall(rest, start)):
        text = _spell(36, ids[n * CHUNK_ID_BYTES : (n + 1) * CHUNK_ID_BYTES])
        pieces += (b"H", text.encode(), numbers)
    return b"".join((*pieces, b"\x00"))


def _long(n: int) -> bytes:
    """Avro long of a number that is not negative (Avro specification, binary encoding: zigzag, base 128)."""
    n, found = n << 1, bytearray()
    while n > 0x7F:
        found.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes((*found, n))
