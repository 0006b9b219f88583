"""Word documents: hidden runs go, then mammoth makes HTML of them, and that becomes Markdown."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import mammoth
from lxml import etree

from streams.parsing.container import DRAWING, looks_like_xml, opened
from streams.parsing.draft import Draft
from streams.parsing.html import markdown_of
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.word_styles import NS, Styles, W

# The strict form of the format says the same in other namespaces.
_STRICT: Final = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_STRICT_RELATION: Final = "http://purl.oclc.org/ooxml/officeDocument/relationships/"
_RELATION: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
_WITH_TEXT: Final = frozenset({f"{W}document", f"{W}footnotes", f"{W}endnotes"})
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
        shown = _without_hidden(archive, draft.removed)
    try:
        converted: Any = mammoth.convert_to_html(
            shown,
            style_map=_STYLE_MAP,
            include_embedded_style_map=False,
            convert_image=_no_image,
            external_file_access=False,
        )
    except (KeyError, AttributeError, ValueError, TypeError, IndexError, OSError) as error:
        raise Refused("broken", f"the document cannot be understood: {type(error).__name__}") from error
    draft.write(markdown_of(converted.value))
    return draft


def _no_image(_image: object) -> list[object]:
    return []


def _without_hidden(archive: zipfile.ZipFile, removed: Counter[str]) -> io.BytesIO:
    """Copy a document, leaving out hidden runs and what only makes it large.

    Which part is the document is for its relations to say, and they may name any, so each part with text is cleaned.
    """
    roots = _roots(archive)
    if not any(root.tag == f"{W}document" for root in roots.values()):
        raise Refused("broken", "the file has no part with a document in it: it is no Word document")
    styles = [Styles(roots[name]) for name in _style_parts(roots)] or [Styles()]
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
        for part in archive.infolist():
            root = roots.get(part.filename)
            if root is not None:
                if root.tag in _WITH_TEXT:
                    _remove_hidden(root, styles, removed)
                target.writestr(part.filename, etree.tostring(root))
    copy.seek(0)
    return copy


def _roots(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Parts that are XML, in the namespaces that most documents have. All else, such as pictures, has no text."""
    roots: dict[str, Any] = {}
    for part in archive.infolist():
        data = archive.read(part)
        if looks_like_xml(data) and not part.filename.lower().endswith(DRAWING):
            try:
                roots[part.filename] = _transitional(_parse(data))
            except Refused:
                if part.filename.lower().endswith(".xml"):
                    raise
    return roots


def _style_parts(roots: Mapping[str, Any]) -> list[str]:
    """Parts that some relation names as the styles; there may be others, for other readers."""
    targets = {
        relation.get("Target", "").rpartition("/")[2]
        for root in roots.values()
        for relation in root.iter("{*}Relationship")
        if relation.get("Type") == f"{_RELATION}styles"
    } or {"styles.xml"}
    return [name for name, root in roots.items() if root.tag == f"{W}styles" and name.rpartition("/")[2] in targets]


def _transitional(root: Any) -> Any:
    for element in root.iter(f"{_STRICT}*"):
        element.tag = element.tag.replace(_STRICT, W)
        for name in [name for name in element.attrib if name.startswith(_STRICT)]:
            element.set(name.replace(_STRICT, W), element.attrib.pop(name))
    for relation in root.iter("{*}Relationship"):
        relation.set("Type", relation.get("Type", "").replace(_STRICT_RELATION, _RELATION))
    return root


def _remove_hidden(root: Any, styles: Sequence[Styles], removed: Counter[str]) -> None:
    for run in root.xpath("//w:r", namespaces=NS):
        if any(one.hide(run) for one in styles):
            removed["hidden"] += 1
            run.getparent().remove(run)
    removed["deleted"] += len(root.xpath("//w:del[.//w:delText]", namespaces=NS))
    removed["comment"] += len(root.xpath("//w:commentReference", namespaces=NS))


def _parse(xml: bytes) -> Any:
    try:
        return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except etree.XMLSyntaxError as error:
        raise Refused("broken", "a part of the document is no XML that can be read") from error
