"""Check ``questions.jsonl`` against the pages; run it after every change of a page, a source or a question.

Needs the standard library alone. Word, PDF, PowerPoint and Excel pages are checked through their text in ``sources/``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDERS = {"everyone": None, "hr": ["hr"], "finance": ["finance"]}
WITH_SPANS = (".md", ".txt")
BUILT = (".docx", ".pdf", ".pptx", ".xlsx")
TWICE = (*BUILT, ".csv", ".jsonl")  # at least two questions for each file of these types
VOID = ("meta", "link", "br", "img", "hr", "input")
QUESTIONS, REFUSALS, RESTRICTED = 60, 6, 8


class _Shown(HTMLParser):
    """What a reader of an HTML page sees in its main part."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._open: list[tuple[str, bool]] = [("", False)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = (dict(attrs).get("style") or "").replace(" ", "")
        hidden = "display:none" in style or tag in {"head", "header", "nav", "footer"}
        if tag not in VOID:
            self._open.append((tag, hidden or self._open[-1][1]))

    def handle_endtag(self, tag: str) -> None:
        while len(self._open) > 1 and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._open[-1][1]:
            self.words += data.split()


def text_of(document: str) -> str:
    """Text of a page as people read it; of .md and .txt as it is in the file, because spans count its characters."""
    path = HERE / document
    if path.suffix in BUILT:
        return " ".join((HERE / "sources" / f"{document}.md").read_text(encoding="utf-8").split())
    text = path.read_bytes().decode("utf-8")
    if path.suffix == ".html":
        shown = _Shown()
        shown.feed(text)
        return " ".join(shown.words)
    if path.suffix == ".jsonl":
        return "\n".join(json.loads(line)["text"] for line in text.splitlines())
    return text


def check_question(row: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with one question."""
    document, answers, spans = row.get("doc"), row["answers"], row.get("spans", [])
    if not answers:
        if document or spans:
            yield "has no answer and yet a document"
        return
    if not document or not (HERE / document).is_file():
        yield f"there is no document {document!r}"
        return
    if row.get("groups") != FOLDERS[document.split("/")[0]]:
        yield f"groups {row.get('groups')} do not fit {document}"
    text = text_of(document)
    for answer in answers:
        if answer not in text:
            yield f"{document} does not contain {answer!r}"
    if bool(spans) != document.endswith(WITH_SPANS):
        yield f"spans are given for {' and '.join(WITH_SPANS)}, and for them alone"
    revised = HERE / "revisions" / document.split("/", 1)[1]
    texts = [text, revised.read_bytes().decode("utf-8")] if revised.is_file() else [text]
    for text, (start, end) in product(texts, spans):  # spans hold before and after the edit
        if not all(answer in text[start:end] for answer in answers):
            found = [text.find(answer) for answer in answers]
            yield f"span {start}-{end} is {text[start:end]!r}; the answers start at {found}"


def check_all(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Say what is wrong, question by question and with the set as a whole."""
    for row in rows:
        for finding in check_question(row):
            yield f"{row['id']}: {finding}"
    for id_, n in Counter(row["id"] for row in rows).items():
        if n > 1:
            yield f"{id_}: {n} questions have this id"
    counts = (len(rows), sum(not row["answers"] for row in rows), sum("groups" in row for row in rows))
    if counts != (QUESTIONS, REFUSALS, RESTRICTED):
        yield f"questions, without answer, with groups: {counts}, not {(QUESTIONS, REFUSALS, RESTRICTED)}"
    asked = Counter(row.get("doc") for row in rows)
    for path in sorted(path for folder in FOLDERS for path in (HERE / folder).rglob("*")):
        document = path.relative_to(HERE).as_posix()
        if path.suffix in TWICE and asked[document] < 2:
            yield f"{document}: {asked[document]} questions, not 2 or more"
        if path.suffix in BUILT and not (HERE / "sources" / f"{document}.md").is_file():
            yield f"{document}: has no source"


def main() -> int:
    """Print the findings; 1 if there are any."""
    lines = (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    findings = list(check_all([json.loads(line) for line in lines]))
    print("\n".join(findings) or f"{len(lines)} questions: all right")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
