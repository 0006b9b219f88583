"""Which runs of a Word document are hidden, by themselves or by the styles that apply to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

NS: Final = {"w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main"}
W: Final = f"{{{NS['w']}}}"
_TINY_HALF_POINTS: Final = 4


class _Look(msgspec.Struct, frozen=True):
    """What a style or a run says of visibility and size (half points); None where it says nothing."""

    vanish: bool | None = None
    size: int | None = None


_UNSAID: Final = _Look()


class Styles:
    """The styles of a document.

    Parameters
    ----------
    root : element or None
        Root of the part with styles; None if there are none.
    """

    def __init__(self, root: Any = None) -> None:
        self._looks: dict[str, _Look] = {}
        self._bases: dict[str, str] = {}
        self._default_paragraph = self._default_run = ""
        self._everywhere = _UNSAID
        if root is not None:
            self._everywhere = _look(root.find("w:docDefaults/w:rPrDefault/w:rPr", NS))
            for style in root.findall("w:style", NS):
                self._add(style)

    def hide(self, run: Any) -> bool:
        """Whether a run is hidden, or its letters are at most two points high."""
        properties = run.find("w:rPr", NS)
        if properties is not None and _on(properties.find("w:webHidden", NS)):
            return True
        looks = [_look(properties), *self._of(run)]
        vanish = next((look.vanish for look in looks if look.vanish is not None), False)
        size = next((look.size for look in looks if look.size is not None), None)
        return vanish or (size is not None and size <= _TINY_HALF_POINTS)

    def _add(self, style: Any) -> None:
        name = style.get(f"{W}styleId") or ""
        self._looks[name] = _look(style.find("w:rPr", NS))
        self._bases[name] = _value(style.find("w:basedOn", NS))
        if style.get(f"{W}default") in {"1", "true", "on"}:
            if style.get(f"{W}type") == "paragraph":
                self._default_paragraph = name
            elif style.get(f"{W}type") == "character":
                self._default_run = name

    def _of(self, run: Any) -> Iterator[_Look]:
        """What applies to a run, the nearest first."""
        own = run.xpath("w:rPr/w:rStyle/@w:val", namespaces=NS)
        around = run.xpath("ancestor::w:p[1]/w:pPr/w:pStyle/@w:val", namespaces=NS)
        yield from self._chain(own[0] if own else self._default_run)
        yield from self._chain(around[0] if around and around[0] in self._looks else self._default_paragraph)
        yield self._everywhere

    def _chain(self, name: str) -> Iterator[_Look]:
        met: set[str] = set()
        while name in self._looks and name not in met:
            met.add(name)
            yield self._looks[name]
            name = self._bases[name]


def _look(properties: Any) -> _Look:
    if properties is None:
        return _UNSAID
    vanish = properties.find("w:vanish", NS)
    size = _value(properties.find("w:sz", NS))
    return _Look(None if vanish is None else _on(vanish), int(size) if size.isascii() and size.isdigit() else None)


def _value(element: Any) -> str:
    return "" if element is None else element.get(f"{W}val") or ""


def _on(switch: Any) -> bool:
    return switch is not None and switch.get(f"{W}val", "true") not in {"0", "false", "off"}
