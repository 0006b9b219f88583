"""HTML to Markdown: what is hidden and what is not content goes, headings, lists, tables and code stay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from bs4 import BeautifulSoup, Tag
from bs4.element import Comment, Doctype, PreformattedString
from markdownify import MarkdownConverter

from streams.parsing import positions
from streams.parsing.decoding import decode
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused

_DECLARED: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([a-zA-Z0-9_-]{2,40})", re.IGNORECASE)
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)(?:[^<>\"']|\"[^\"]*+\"|'[^']*+')*+>")
_CLOSED_BY_OTHERS: Final = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr", "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "colgroup",
    "rt", "rp", "body", "html", "head",
})  # fmt: skip
_INERT: Final = (
    "script",
    "style",
    "template",
    "noscript",
    "iframe",
    "object",
    "embed",
    "svg",
    "canvas",
    "audio",
    "video",
)
_CONTROLS: Final = ("select", "textarea", "button", "input", "datalist")
_NOT_CONTENT: Final = frozenset({"navigation", "banner", "contentinfo", "search"})
_NOT_CONTENT_NAMES: Final = frozenset({
    "navbar", "nav", "menu", "sidebar", "breadcrumb", "breadcrumbs", "pagination", "cookie-banner",
    "cookie-consent", "cookie-notice", "site-footer", "site-header", "footer", "skip-link", "share-buttons",
    "social-links",
})  # fmt: skip
_STYLE_HIDES: Final = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|content-visibility\s*:\s*hidden"
    r"|opacity\s*:\s*0*\.?0+\s*(?:;|!|$)|font-size\s*:\s*(?:0*\.?0+(?:px|pt|em|rem|%)?|1px)\s*(?:;|!|$)"
    r"|(?:text-indent|left|top)\s*:\s*-\d{3,}|clip\s*:\s*rect\(\s*0|transform\s*:\s*scale\(\s*0\s*\))",
    re.IGNORECASE,
)
_COLOUR: Final = re.compile(r"(?:^|;)\s*(color|background(?:-color)?)\s*:\s*([^;!]+)", re.IGNORECASE)
_BLANK_LINES: Final = re.compile(r"[ \t]*\n(?:[ \t]*\n){2,}")
_MOSTLY_LINKS: Final = 0.5


class _Markdown(MarkdownConverter):
    """Links and images without their addresses: nobody asks for them, and they are no words of the text."""

    def convert_a(self, _el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - the library's signature
        """Text of a link."""
        return text

    def convert_img(self, _el: Tag, _text: str, parent_tags: set[str]) -> str:  # noqa: ARG002
        """Nothing of an image: its description is no text that a reader sees."""
        return ""

    def convert_br(self, _el: Tag, _text: str, parent_tags: set[str]) -> str:  # noqa: ARG002
        """Line break without the mark that Markdown has for it: quotations are shown as they stand."""
        return "\n"


_OPTIONS: Final[dict[str, Any]] = {
    "heading_style": "ATX",
    "bullets": "-",
    "escape_asterisks": False,
    "escape_underscores": False,
    "escape_misc": False,
    "table_infer_header": True,
}


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Convert an HTML document.

    Raises
    ------
    Refused
        If it is no text, or its elements are nested too deep.
    """
    draft = Draft(limits)
    declared = _DECLARED.search(data[:4096])
    source, draft.encoding = decode(data, declared[1].decode() if declared else "")
    source = positions.PRIVATE.sub("\ufffd", source)
    _require_shallow(source, limits.max_depth)
    text, pieces = positions.marked(source)
    soup = _soup(text)
    draft.title = _title(soup)
    draft.removed += _remove_hidden(soup) + _remove_boilerplate(soup)
    markdown, runs = positions.unmark(_convert(soup), source, pieces)
    draft.place(markdown, runs)
    return draft


def markdown_of(html: str) -> str:
    """Convert HTML that a converter of ours made, all of it content."""
    return _convert(_soup(html))


def _soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "lxml")


def _convert(soup: BeautifulSoup) -> str:
    for line_break in soup.find_all(("th", "td")):
        for inner in line_break.find_all("br"):
            inner.replace_with(" ")
    body = soup.body or soup
    return _BLANK_LINES.sub("\n\n", _Markdown(**_OPTIONS).convert_soup(body)).strip() + "\n"


def _require_shallow(source: str, max_depth: int) -> None:
    """Refuse before the parser would cut the document off without a word."""
    depth = 0
    for closing, name in _TAG.findall(source):
        if name.lower() not in _CLOSED_BY_OTHERS:
            depth = max(depth - 1, 0) if closing else depth + 1
            if depth > max_depth:
                raise Refused("too_deep", f"elements are nested more than {max_depth} deep; simplify the document")


def _title(soup: BeautifulSoup) -> str:
    for name in ("h1", "title"):
        found = soup.find(name)
        if isinstance(found, Tag):
            title = " ".join(positions.PRIVATE.sub("", found.get_text(" ")).split())
            if title:
                return title[:300]
    return ""


def _remove_hidden(soup: BeautifulSoup) -> Counter[str]:
    removed: Counter[str] = Counter()
    for node in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        if isinstance(node, Comment):
            removed["comment"] += 1
        if not isinstance(node, Doctype):
            node.extract()
    removed["script"] += _decompose(soup.find_all(_INERT))
    for head in soup.find_all("head"):
        head.decompose()
    removed["hidden"] += _decompose(tag for tag in soup.find_all(True) if not tag.decomposed and _is_hidden(tag))
    return removed


def _decompose(tags: Any) -> int:
    n_removed = 0
    for tag in list(tags):
        if not tag.decomposed:
            tag.decompose()
            n_removed += 1
    return n_removed


def _is_hidden(tag: Tag) -> bool:
    attributes = tag.attrs
    if "hidden" in attributes or (tag.name == "dialog" and "open" not in attributes):
        return True
    if tag.name == "input" and str(attributes.get("type", "")).lower() == "hidden":
        return True
    style = str(attributes.get("style", ""))
    return bool(style) and (_STYLE_HIDES.search(style) is not None or _same_colour(style))


def _same_colour(style: str) -> bool:
    colours = {name.lower()[:5]: _colour(value) for name, value in _COLOUR.findall(style)}
    return "color" in colours and (colours["color"] == colours.get("backg") or colours["color"] == "transparent")


def _colour(value: str) -> str:
    value = value.strip().lower()
    value = {"white": "#ffffff", "black": "#000000"}.get(value, value)
    return "#" + "".join(2 * digit for digit in value[1:]) if re.fullmatch(r"#[0-9a-f]{3}", value) else value


def _remove_boilerplate(soup: BeautifulSoup) -> Counter[str]:
    """Take out navigation, page headers and footers, and form controls; what may be body text stays."""
    return Counter(boilerplate=_decompose(tag for tag in soup.find_all(True) if _is_boilerplate(tag)))


def _is_boilerplate(tag: Tag) -> bool:
    if tag.name in _CONTROLS or tag.name == "nav":
        return True
    if str(tag.get("role", "")).lower() in _NOT_CONTENT:
        return not tag.find(("h1", "main", "article"))
    if tag.name in {"header", "footer", "aside"}:
        inside = tag.find_parent(("article", "main", "section", "blockquote"))
        if tag.name == "aside" or inside is not None:
            return tag.name == "aside" and inside is None and _main(tag)
        return not tag.find(("h1", "main", "article"))
    return any(name in _NOT_CONTENT_NAMES for name in _names(tag)) and _is_mostly_links(tag)


def _main(tag: Tag) -> bool:
    """Whether the page says itself where its content is."""
    top = [*tag.parents][-1]
    return top.find(("main", "article")) is not None


def _names(tag: Tag) -> Iterator[str]:
    if tag.name in {"div", "ul", "ol", "section", "p", "a"}:
        yield str(tag.get("id", "")).lower()
        for name in tag.get("class") or ():
            yield name.lower()


def _is_mostly_links(tag: Tag) -> bool:
    n_all = len(tag.get_text(strip=True))
    n_linked = sum(len(link.get_text(strip=True)) for link in (tag.find_all("a") if tag.name != "a" else (tag,)))
    return n_linked >= _MOSTLY_LINKS * n_all or any("cookie" in name for name in _names(tag))
