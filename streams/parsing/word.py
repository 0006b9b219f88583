"""Word documents: hidden runs go, then mammoth makes HTML of them, and that becomes Markdown."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from typing import Any, Final

import mammoth
from lxml import etree

from streams.parsing.container import opened
from streams.parsing.draft import Draft
from streams.parsing.html import markdown_of
from streams.parsing.limits import ParserLimits, Refused

_NS: Final = {"w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main"}
_W: Final = f"{{{_NS['w']}}}"
_PARTS: Final = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")
_TINY_HALF_POINTS: Final = 4
_STYLE_MAP: Final = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh\nbr[type='page'] => "


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Convert a .docx file.

    Raises
    ------
    Refused
        If it is no intact Word document.
    """
    draft = Draft(limits)
    with opened(data, limits) as archive:
        if _PARTS[0] not in archive.namelist():
            raise Refused("broken", "the file has no word/document.xml: it is no Word document")
        shown = _without_hidden(archive, draft.removed)
    try:
        converted: Any = mammoth.convert_to_html(
            shown,
            style_map=_STYLE_MAP,
            include_embedded_style_map=False,
            convert_image=_no_image,
            external_file_access=False,
        )
    except (KeyError, AttributeError, ValueError, TypeError, IndexError) as error:
        raise Refused("broken", f"the document cannot be understood: {type(error).__name__}") from error
    draft.write(markdown_of(converted.value))
    return draft


def _no_image(_image: object) -> list[object]:
    return []


def _without_hidden(archive: zipfile.ZipFile, removed: Counter[str]) -> io.BytesIO:
    """Copy a document, leaving out hidden runs and what only makes it large."""
    styles = _hidden_styles(archive)
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
        for part in archive.infolist():
            if part.filename in _PARTS:
                target.writestr(part.filename, _shown(archive.read(part), styles, removed))
            elif not part.filename.startswith("word/media/"):
                target.writestr(part.filename, archive.read(part))
    copy.seek(0)
    return copy


def _shown(xml: bytes, styles: set[str], removed: Counter[str]) -> bytes:
    root = _parse(xml)
    for run in root.xpath("//w:r", namespaces=_NS):
        if _is_hidden(run, styles):
            removed["hidden"] += 1
            run.getparent().remove(run)
    removed["deleted"] += len(root.xpath("//w:del[.//w:delText]", namespaces=_NS))
    removed["comment"] += len(root.xpath("//w:commentReference", namespaces=_NS))
    return bytes(etree.tostring(root))


def _is_hidden(run: Any, styles: set[str]) -> bool:
    own = run.find("w:rPr", _NS)
    if own is not None:
        if _on(own.find("w:vanish", _NS)) or _on(own.find("w:webHidden", _NS)):
            return True
        size = own.find("w:sz", _NS)
        if (
            size is not None
            and (size.get(f"{_W}val") or "").isdigit()
            and int(size.get(f"{_W}val")) <= _TINY_HALF_POINTS
        ):
            return True
        if own.find("w:vanish", _NS) is not None:  # switched off for this run, whatever its style says
            return False
    names = run.xpath("w:rPr/w:rStyle/@w:val | ancestor::w:p[1]/w:pPr/w:pStyle/@w:val", namespaces=_NS)
    return not styles.isdisjoint(names)


def _hidden_styles(archive: zipfile.ZipFile) -> set[str]:
    if "word/styles.xml" not in archive.namelist():
        return set()
    styles = _parse(archive.read("word/styles.xml")).findall("w:style", _NS)
    hidden = {style.get(f"{_W}styleId") for style in styles if _on(style.find("w:rPr/w:vanish", _NS))}
    for _ in styles:  # styles that are based on hidden ones, to any depth
        based = {s.get(f"{_W}styleId") for s in styles if _based_on(s) in hidden} - hidden
        if not based:
            break
        hidden |= based
    return {name for name in hidden if name}


def _based_on(style: Any) -> str | None:
    base = style.find("w:basedOn", _NS)
    return None if base is None else base.get(f"{_W}val")


def _on(switch: Any) -> bool:
    return switch is not None and switch.get(f"{_W}val", "true") not in {"0", "false", "off"}


def _parse(xml: bytes) -> Any:
    try:
        return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except etree.XMLSyntaxError as error:
        raise Refused("broken", "a part of the document is no XML that can be read") from error
