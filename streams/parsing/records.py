"""JSON: an object with a title and a text as a document, any other as lines that name their fields; JSON Lines too."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final

from streams.parsing.decoding import decode
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused

_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?|.)", re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_COLON: Final = re.compile(r"\s*:")
_TITLES: Final = ("title", "name", "heading")
_TEXTS: Final = ("text", "content", "body")
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Read JSON, or JSON Lines where that is no single value.

    Raises
    ------
    Refused
        If it is neither, or nested too deep.
    """
    draft = Draft(limits)
    source, draft.encoding = decode(data)
    _require_shallow(source, limits.max_depth)
    try:
        value = _loaded(source)
    except ValueError as error:
        for line, strings in _lines(source, error, draft.removed):
            draft.paragraph()
            _write_record(draft, strings, line)
        return draft
    strings = _Strings(source)
    for item in value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else (value,):
        draft.paragraph()
        _write_record(draft, strings, item)
    return draft


def _lines(source: str, whole: ValueError, removed: Counter[str]) -> list[tuple[Any, _Strings]]:
    """Values of JSON Lines; a few broken lines, such as the last of a log that is being written, are left out."""
    found: list[tuple[Any, _Strings]] = []
    broken: list[tuple[ValueError, int]] = []
    start = 0
    for number, line in enumerate(source.split("\n"), start=1):
        if line.strip():
            try:
                found.append((_loaded(line), _Strings(source, start, start + len(line))))
            except ValueError as error:
                broken.append((error, number))
        start += len(line) + 1
    if len(found) <= len(broken):
        raise _broken(*(broken[0] if len(found) + len(broken) > 1 else (whole,))) from whole
    removed["broken_record"] += len(broken)
    return found


def _loaded(text: str) -> Any:
    value = json.loads(text)
    return _paired(value) if _SURROGATE.search(text) else value


def _paired(value: Any) -> Any:
    """Replace halves of surrogate pairs, which JSON can name but no text can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_paired(key): _paired(item) for key, item in value.items()}
    return [_paired(item) for item in value] if isinstance(value, list) else value


def _broken(error: ValueError, line: int = 0) -> Refused:
    where = f"line {line}: " if line else ""
    return Refused("broken", f"content is no JSON: {where}{getattr(error, 'msg', 'a value is out of bounds')}")


def _require_shallow(source: str, max_depth: int) -> None:
    depth = 0
    for token in _BRACKETS.findall(source):
        if token in {"[", "{"}:
            depth += 1
            if depth > max_depth:
                raise Refused("too_deep", f"arrays and objects are nested more than {max_depth} deep; flatten them")
        elif token in {"]", "}"}:
            depth -= 1


class _Strings:
    """The strings of a record that are values, in order: where the next one stands that a value came from."""

    def __init__(self, source: str, start: int = 0, end: int | None = None) -> None:
        self._source = source
        self._at = start
        self._end = len(source) if end is None else end

    def find(self, value: str) -> tuple[int, int] | None:
        """Place of the next string that is `value`, without its quotes; later ones are looked for behind it."""
        at = self._at
        while (token := _STRING.search(self._source, at, self._end)) is not None:
            if _unescaped(token[1]) == value and not _COLON.match(self._source, token.end(), self._end):
                self._at = token.end()
                return token.span(1)
            at = token.end()
        return None

    def write(self, draft: Draft, value: str) -> None:
        """Write a value with its place, escapes one by one."""
        found = self.find(value)
        if found is None:
            draft.write(value)
            return
        at, end = found
        while (escape := _ESCAPE.search(self._source, at, end)) is not None:
            draft.write(self._source[at : escape.start()], at)
            character = _unescaped(escape[0])
            draft.place(character, ((0, len(character), *escape.span()),))
            at = escape.end()
        draft.write(self._source[at:end], at)


def _unescaped(token: str) -> str:
    if "\\" not in token:
        return token
    try:
        text: str = json.loads(f'"{token}"', strict=False)
    except ValueError:
        return token
    return str(_paired(text))


def _write_record(draft: Draft, strings: _Strings, value: Any) -> None:
    if not isinstance(value, dict):
        _write_value(draft, strings, value, "")
        return
    title = next((key for key in _TITLES if isinstance(value.get(key), str) and value[key].strip()), "")
    text = next((key for key in _TEXTS if isinstance(value.get(key), str)), "")
    for key, item in value.items():
        if key == title and text:
            draft.title = draft.title or " ".join(item.split())[:300]
            draft.paragraph()
            draft.write("# ")
            strings.write(draft, item)
            draft.paragraph()
        elif key == text:
            draft.paragraph()
            strings.write(draft, item)
            draft.paragraph()
        elif not (text and key == "id"):
            _write_value(draft, strings, item, key)
        elif isinstance(item, str):
            strings.find(item)  # passed over, lest a value after it be found here


def _write_value(draft: Draft, strings: _Strings, value: Any, path: str) -> None:
    """One line for each value: the names that lead to it, and it."""
    if isinstance(value, dict):
        for key, item in value.items():
            _write_value(draft, strings, item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and not all(isinstance(item, str | int | float | bool) for item in value):
        for item in value:
            _write_value(draft, strings, item, path)
    elif value is not None and value not in ("", []):
        draft.write(f"{path}: " if path else "")
        for number, item in enumerate(value if isinstance(value, list) else (value,)):
            draft.write(", " if number else "")
            if isinstance(item, str):
                strings.write(draft, item)
            else:
                draft.write(json.dumps(item))
        draft.write("\n")
