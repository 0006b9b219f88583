"""Whether the `style` of an element hides it.

Read with a CSS parser, since comments, escapes, notations of a colour and shorthands are many ways to say one thing.
What only a style sheet, the parent or the window decides is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import tinycss2
from tinycss2.color4 import parse_color

Values = Sequence[Any]
"""Component values of a declaration, without white space and comments."""

_PIXELS: Final = {
    "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78, "q": 0.945,
    "em": 16.0, "rem": 16.0, "ex": 8.0, "ch": 8.0, "vw": 12.8, "vh": 7.2, "vmin": 7.2, "vmax": 12.8,
}  # fmt: skip
_READABLE_PX: Final = 2.0
_READABLE_SHARE: Final = 0.1
_VISIBLE_ALPHA: Final = 0.05
_SAME_COLOUR: Final = 0.02
_AWAY_PX: Final = 100.0
_FAR_AWAY_PX: Final = 1_000.0  # margins of ordinary columns are negative, too, but not this much
_BEYOND_PX: Final = 5_000.0
_GONE_SHARE: Final = 50.0


def hides(style: str) -> bool:
    """Whether nothing can be seen of an element with this `style`."""
    found = _declarations(style)
    if any(name in found and rule(found[name]) for name, rule in _RULES.items()):
        return True
    return _clipped_away(found) or _same_colour(found)


def _declarations(style: str) -> dict[str, Values]:
    """Values by name: the last counts, unless one before is important."""
    found: dict[str, Values] = {}
    important: set[str] = set()
    for one in tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True):
        if one.type == "declaration" and (one.important or one.lower_name not in important):
            found[one.lower_name] = [value for value in one.value if value.type not in {"whitespace", "comment"}]
            important |= {one.lower_name} if one.important else set()
    return found


def _word(*words: str) -> Callable[[Values], bool]:
    return lambda values: any(value.type == "ident" and value.lower_value in words for value in values)


def _px(value: Any) -> float | None:
    """Length in pixels, for the usual size of letters and a small window."""
    if value.type == "number" and not value.value:
        return 0.0
    return (
        value.value * _PIXELS[value.lower_unit] if value.type == "dimension" and value.lower_unit in _PIXELS else None
    )


def _lengths(values: Values) -> Iterator[float]:
    yield from (length for value in values if (length := _px(value)) is not None)


def _share(value: Any) -> float | None:
    """Number or percentage, as a share of one."""
    if value.type == "number":
        return float(value.value)
    return value.value / 100 if value.type == "percentage" else None


def _transparent(values: Values) -> bool:
    share = _share(values[0]) if values else None
    return share is not None and share <= _VISIBLE_ALPHA


def _unreadable(values: Values) -> bool:
    """Whether letters are too small; in the shorthand `font`, the first size is theirs."""
    for value in values:
        if value.type == "percentage" or (value.type == "dimension" and value.lower_unit in {"em", "rem"}):
            return bool(value.value < _READABLE_SHARE * (100 if value.type == "percentage" else 1))
        length = _px(value)
        if length is not None:
            return length < _READABLE_PX
    return False


def _outside(values: Values) -> bool:
    return any(length <= -_AWAY_PX or length >= _BEYOND_PX for length in _lengths(values)) or any(
        value.type == "percentage" and value.value <= -100 for value in values
    )


def _far_outside(values: Values) -> bool:
    return any(length <= -_FAR_AWAY_PX or length >= _BEYOND_PX for length in _lengths(values))


def _clip(values: Values) -> bool:
    """`rect()` whose edges meet: for letters, a pixel is nothing."""
    for value in values:
        if value.type == "function" and value.lower_name == "rect":
            edges = [*_lengths(_arguments(value))]
            return len(edges) == 4 and (edges[2] - edges[0] <= 1 or edges[1] - edges[3] <= 1)
    return False


def _clip_path(values: Values) -> bool:
    for value in values:
        if value.type == "function":
            arguments = _arguments(value)
            if value.lower_name == "inset":
                return bool(arguments) and all(
                    one.type == "percentage" and one.value >= _GONE_SHARE for one in arguments[:2]
                )
            if value.lower_name in {"circle", "ellipse"}:
                return bool(arguments) and _is_nothing(arguments[0])
            if value.lower_name == "polygon":
                return bool(arguments) and all(_is_nothing(one) for one in arguments)
    return False


def _transform(values: Values) -> bool:
    for value in values:
        if value.type != "function":
            continue
        arguments = _arguments(value)
        if value.lower_name.startswith("scale") and any(_is_nothing(one) for one in arguments):
            return True
        if value.lower_name.startswith("translate") and _far_outside(arguments):
            return True
    return False


def _filter(values: Values) -> bool:
    return any(
        value.type == "function" and value.lower_name == "opacity" and _transparent(_arguments(value))
        for value in values
    )


def _is_nothing(value: Any) -> bool:
    return value.type in {"number", "percentage", "dimension"} and not value.value


def _arguments(function: Any) -> list[Any]:
    return [one for one in function.arguments if one.type not in {"whitespace", "comment"} and one != ","]


def _clipped_away(found: Mapping[str, Values]) -> bool:
    """A box of at most a pixel that shows nothing of what does not fit."""
    if not any(_word("hidden", "clip")(found.get(name, ())) for name in ("overflow", "overflow-x", "overflow-y")):
        return False
    sizes = ("width", "height", "max-width", "max-height", "inline-size", "block-size")
    return any(length <= 1 for name in sizes for length in _lengths(found.get(name, ())))


def _same_colour(found: Mapping[str, Values]) -> bool:
    own = _colour(found.get("color", ()))
    if own is None:
        return False
    if own.alpha <= _VISIBLE_ALPHA:
        return True
    # A colour behind a picture counts: whoever reads the text without it should see nothing, either.
    behind = _colour(found.get("background-color", ())) or _colour(found.get("background", ()))
    if behind is None or behind.alpha <= _VISIBLE_ALPHA:
        return False
    # A coordinate may be `none`, which is drawn as nought.
    pairs = zip(own.coordinates, behind.coordinates, strict=True)
    return all(abs((a or 0.0) - (b or 0.0)) <= _SAME_COLOUR for a, b in pairs)


def _colour(values: Values) -> Any:
    """First colour among the values; None where there is none that is known by itself."""
    for value in values:
        colour = parse_color(value)
        if colour is not None and colour != "currentcolor":
            return colour.to("srgb")
    return None


_RULES: Final[Mapping[str, Callable[[Values], bool]]] = {
    "display": _word("none"),
    "visibility": _word("hidden", "collapse"),
    "content-visibility": _word("hidden"),
    "opacity": _transparent,
    "filter": _filter,
    "font-size": _unreadable,
    "font": _unreadable,
    "text-indent": _outside,
    **dict.fromkeys(("left", "top", "right", "bottom", "inset"), _outside),
    **dict.fromkeys(("margin", "margin-left", "margin-top", "margin-right", "margin-bottom"), _far_outside),
    "clip": _clip,
    "clip-path": _clip_path,
    "transform": _transform,
    "translate": _far_outside,
    "scale": lambda values: any(_is_nothing(value) for value in values),
}
