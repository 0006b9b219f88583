"""Look into an Office file before a library opens it: what it inflates to, what its XML asks for, how deep it goes."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from streams.parsing.limits import ParserLimits, Refused

_OLE: Final = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_SMALL: Final = 2**20
_PIECE: Final = 2**16
_XML: Final = (".xml", ".rels", ".vml")
DRAWING: Final = ".svg"
"""Parts that may declare a document type, and that no reader is given."""
_BEFORE_XML: Final = b"\xef\xbb\xbf\xfe\xff\x00 \t\r\n"
_ENCRYPTED_FLAG: Final = 1


def opened(data: bytes, limits: ParserLimits) -> zipfile.ZipFile:
    """Open a container whose parts were all inflated once, counted and checked.

    Raises
    ------
    Refused
        ``encrypted``, ``broken``, ``media_type``, ``zip_bomb``, ``external_entity`` or ``too_deep``.
    """
    if data.startswith(_OLE):
        if _ENCRYPTED in data:
            raise Refused("encrypted", "the document is encrypted; save it without a password")
        raise Refused(
            "media_type", "the document has the format of Office 97 to 2003; save it as .docx, .pptx or .xlsx"
        )
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        _require_modest(archive, limits)
        for part in archive.infolist():
            _inflate(archive, part, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise Refused("broken", f"the document is no intact Office file: {type(error).__name__}") from error
    return archive


def _require_modest(archive: zipfile.ZipFile, limits: ParserLimits) -> None:
    parts = archive.infolist()
    if len(parts) > limits.max_parts:
        raise Refused("zip_bomb", f"the document has {len(parts)} parts, at most {limits.max_parts} are read")
    n_bytes = sum(part.file_size for part in parts)
    if n_bytes > limits.max_inflated_bytes:
        raise Refused(
            "zip_bomb", f"the document inflates to {n_bytes} bytes, at most {limits.max_inflated_bytes} are read"
        )
    for part in parts:
        if part.flag_bits & _ENCRYPTED_FLAG:
            raise Refused("encrypted", "a part of the document is encrypted; save it without a password")
        if part.file_size > _SMALL and part.file_size > limits.max_inflation * part.compress_size:
            message = f"a part of the document inflates by more than {limits.max_inflation} times; save it anew"
            raise Refused("zip_bomb", message)


def _inflate(archive: zipfile.ZipFile, part: zipfile.ZipInfo, limits: ParserLimits) -> None:
    """Read a part to its end: never more than it claims to hold, and with the right checksum.

    Any part may be the document, whatever its name, so all that looks like XML is checked.
    """
    name = part.filename.lower()
    check: _XmlCheck | None = _XmlCheck(limits.max_depth, strict=True) if name.endswith(_XML) else None
    for number, piece in enumerate(_pieces(archive, part)):
        if not number and check is None and looks_like_xml(piece) and not name.endswith(DRAWING):
            check = _XmlCheck(limits.max_depth, strict=False)
        if check is not None:
            check.feed(piece)
    if check is not None:
        check.feed(b"", last=True)


def looks_like_xml(data: bytes) -> bool:
    """Whether a part may be XML, in any encoding that parsers of XML know."""
    return data[:64].lstrip(_BEFORE_XML).startswith(b"<")


def _pieces(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(part) as inflated:
        while piece := inflated.read(_PIECE):
            yield piece


class _XmlCheck:
    """Refuses a document type, which Office files never have and every entity attack needs, and deep nesting."""

    def __init__(self, max_depth: int, *, strict: bool) -> None:
        self._strict = strict
        self._depth = 0
        self._max_depth = max_depth
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def feed(self, piece: bytes, *, last: bool = False) -> None:
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            if not self._strict:
                return  # it is no XML after all; no reader gets further than this
            raise Refused("broken", f"a part of the document is no XML: {expat.ErrorString(error.code)}") from error

    def _doctype(self, *_: object) -> None:
        raise Refused("external_entity", "a part of the document declares a document type, which Office files never do")

    def _start(self, _name: str, _attributes: object) -> None:
        self._depth += 1
        if self._depth > self._max_depth:
            raise Refused("too_deep", f"elements are nested more than {self._max_depth} deep; simplify the document")

    def _end(self, _name: str) -> None:
        self._depth -= 1
