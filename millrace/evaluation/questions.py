"""The format of questions whose answers are known: JSON Lines, one question a line."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import InputRejected

Span = tuple[int, int]
_SHOWN = 10


class KnownQuestion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question and what is right; all but the question may be missing.

    Attributes
    ----------
    id : str
        Names the question in reports and when runs are compared; ``line-<n>`` where it is missing.
    question : str
        The question.
    answers : tuple of str or None
        Texts any of which answers it. An empty list says that nothing in the corpus does, and that saying so is right.
    doc : str or tuple of str
        Document, or documents, any of which holds an answer.
    spans : tuple of (int, int) or (str, int, int)
        Where the answers stand, end exclusive: in characters of the document's file for formats with text positions,
        otherwise of the text that was read from it. ``[document, start, end]``, or ``[start, end]`` if there is one
        `doc`.
    labels : mapping of str to str
        Only documents with these labels are searched.
    tenant, user, groups
        Who asks; where missing, as the command line says.
    """

    question: str
    id: str = ""
    answers: tuple[str, ...] | None = None
    doc: str | tuple[str, ...] = ()
    spans: tuple[tuple[str | int, ...], ...] = ()
    labels: Mapping[str, str] = {}
    tenant: str = ""
    user: str = ""
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises
        ------
        ValueError
            It does.
        """
        if not self.question.strip():
            raise ValueError("the question is empty")
        for span in self.spans:
            self._check(span)
        if self.answers == () and (self.documents or self.spans):
            raise ValueError("`answers` is empty, so nothing answers it, and yet there is a `doc` or a span; drop one")
        if self.answers and not all(answer.strip() for answer in self.answers):
            raise ValueError("one of `answers` is blank; an empty list says that there is no answer")

    def _check(self, span: tuple[str | int, ...]) -> None:
        match span:
            case (str() as document, int() as start, int() as end):
                if self.documents and document not in self.documents:
                    raise ValueError(f"span {list(span)} is in {document!r}, which is not in `doc`")
            case (int() as start, int() as end):
                if len(self.documents) != 1:
                    raise ValueError(
                        f"span {list(span)} names no document and `doc` names {len(self.documents)}; "
                        "write [document, start, end]"
                    )
            case _:
                raise ValueError(f"span {list(span)} is not [start, end] or [document, start, end]")
        if not 0 <= start < end:
            raise ValueError(f"span {list(span)} is empty or begins before the text; the end is exclusive")

    @property
    def documents(self) -> tuple[str, ...]:
        """The documents of `doc`."""
        return (self.doc,) if isinstance(self.doc, str) and self.doc else tuple(self.doc)

    @property
    def gold(self) -> dict[str, tuple[Span, ...]]:
        """Right documents, each with its spans; none where only the documents are known."""
        found: dict[str, tuple[Span, ...]] = {} if self.spans else dict.fromkeys(self.documents, ())
        for span in self.spans:
            document = self.documents[0] if len(span) == 2 else str(span[0])
            found[document] = (*found.get(document, ()), (int(span[-2]), int(span[-1])))
        return found

    @property
    def unanswerable(self) -> bool:
        """Whether saying that the corpus holds no answer is right."""
        return self.answers == ()


class QuestionSet(msgspec.Struct, frozen=True):
    """Questions of a file.

    Attributes
    ----------
    questions : tuple of KnownQuestion
        In the order of the file, each with an id.
    unused : mapping of str to int
        Fields that mean nothing here, and on how many lines they stand.
    """

    questions: tuple[KnownQuestion, ...]
    unused: Mapping[str, int] = {}


def read_questions(path: Path) -> QuestionSet:
    """Read a file of questions.

    Raises
    ------
    InputRejected
        It cannot be read or holds no question, or some lines are wrong: all are named, by number.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRejected(f"{path} cannot be read ({error}); it must be a file in UTF-8") from error
    questions: list[KnownQuestion] = []
    wrong: list[str] = []
    unused: Counter[str] = Counter()
    lines_of: dict[str, int] = {}
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
            question = msgspec.convert(row, KnownQuestion)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            wrong.append(f"line {n}: {error}")
            continue
        question = question if question.id else msgspec.structs.replace(question, id=f"line-{n}")
        if question.id in lines_of:
            wrong.append(f"line {n}: id {question.id!r} is that of line {lines_of[question.id]} as well")
        lines_of[question.id] = n
        unused.update(row.keys() - set(KnownQuestion.__struct_fields__))
        questions.append(question)
    if wrong:
        more = f"\n... and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputRejected(f"{path} has {len(wrong)} wrong lines:\n" + "\n".join(wrong[:_SHOWN]) + more)
    if not questions:
        raise InputRejected(f'{path} holds no question; write one a line: {{"question": "...", "doc": "..."}}')
    return QuestionSet(tuple(questions), dict(unused))


def write_questions(path: Path, questions: Iterable[KnownQuestion]) -> None:
    """Write questions as `read_questions` reads them."""
    path.write_bytes(b"".join(msgspec.json.encode(question) + b"\n" for question in questions))
