"""HTML to Markdown: what is hidden and what is not content goes, headings, lists, tables and code stay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from bs4 import BeautifulSoup, Tag
from bs4.element import Comment, Doctype, PreformattedString
from lxml import etree
from markdownify import MarkdownConverter

from streams.parsing import positions
from streams.parsing.decoding import decode
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.styles import hides

_DECLARED: Final = re.compile(
    rb"(?:<meta[^>]{0,200}?charset|^\s*<\?xml[^>]{0,200}?encoding)\s*=\s*[\"']?([a-zA-Z0-9_.:-]{2,40})", re.IGNORECASE
)
_XML_DECLARATION: Final = re.compile(r"^\s*<\?xml\s[^>]*+>", re.IGNORECASE)
_OFTEN_UNCLOSED: Final = frozenset({
    "a", "abbr", "b", "bdi", "bdo", "big", "center", "cite", "code", "em", "font", "i", "ins", "kbd", "mark", "nobr",
    "s", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "p", "li", "dt", "dd", "tr", "td", "th", "thead",
    "tbody", "tfoot", "option", "optgroup", "rt", "rp",
})  # fmt: skip
_MOST_PER_DEPTH: Final = 5
INERT: Final = (
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
    # A parser for HTML knows neither XML declarations nor those inside a document type, and would make text of them.
    soup = _soup(positions.DOCTYPE.sub("", _XML_DECLARATION.sub("", text), count=1))
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


def hidden_element(tag: str) -> bool:
    """Whether a start tag begins something that is hidden."""
    return any(_is_hidden(found) for found in _soup(tag).find_all(True))


def _require_shallow(source: str, max_depth: int) -> None:
    """Refuse what would exhaust the stack, before a tree is made of it."""
    parser = etree.HTMLParser(target=_Depth(max_depth), recover=True)
    parser.feed(source)
    parser.close()


class _Depth:
    """Follows the parser through a document and counts the elements that are open.

    Old pages leave what formats text open from paragraph to paragraph, so those elements have more room.
    """

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._n_open = self._depth = 0

    def start(self, name: str, _attributes: object) -> None:
        """Enter an element."""
        self._n_open += 1
        self._depth += name not in _OFTEN_UNCLOSED
        if self._depth > self._max_depth or self._n_open > _MOST_PER_DEPTH * self._max_depth:
            message = f"elements are nested more than {self._max_depth} deep; simplify the document"
            raise Refused("too_deep", message)

    def end(self, name: str) -> None:
        """Leave an element."""
        self._n_open -= 1
        self._depth -= name not in _OFTEN_UNCLOSED

    def close(self) -> None:
        """Nothing to hand out."""


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
    removed["script"] += _decompose(soup.find_all(INERT))
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
    if not {"hidden", "popover"}.isdisjoint(attributes) or (tag.name == "dialog" and "open" not in attributes):
        return True
    if tag.name == "input" and str(attributes.get("type", "")).lower() == "hidden":
        return True
    style = str(attributes.get("style", ""))
    return bool(style) and hides(style)


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
