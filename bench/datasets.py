"""Turn data sets in SQuAD's format into documents and questions: ``python -m bench.datasets xquad OUT --data DIR``.

``OUT/documents/`` can be ingested as it is; ``OUT/questions.jsonl`` is what ``millrace eval`` reads. XQuAD makes a
document of an article; PolicyQA one of a paragraph, in a folder of its policy, because its questions name no company:
its folders are ingested one by one, each with the label that its questions are restricted to
(``millrace ingest OUT/documents/ted.com --prefix ted.com --label policy=ted.com``). ``OUT/documents.jsonl`` lists the
documents with their labels.

With ``--leave-out 0.2`` a fifth of the articles, or of the paragraphs that answer something, is not written, and
questions that nothing else answers are marked as having no answer.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from millrace.errors import InputRejected
from millrace.evaluation.questions import KnownQuestion, write_questions

FILES = {"xquad": Path("xquad") / "xquad.en.part-a.json", "policyqa": Path("policyqa") / "dev.json"}
_SEPARATOR = "\n\n"
_T = TypeVar("_T")


class Document(msgspec.Struct, frozen=True):
    """A document of a data set.

    Attributes
    ----------
    id : str
        Its path below ``documents/``.
    text : str
        Its text; spans count its characters.
    labels : mapping of str to str
        Labels that its questions are restricted to.
    """

    id: str
    text: str
    labels: Mapping[str, str] = {}


class DataSet(msgspec.Struct, frozen=True):
    """Documents and the questions about them."""

    documents: tuple[Document, ...]
    questions: tuple[KnownQuestion, ...]


def load(name: str, data: Path) -> DataSet:
    """Read one of the data sets.

    Parameters
    ----------
    name : {"xquad", "policyqa"}
        Which.
    data : Path
        Folder with the data sets.

    Raises
    ------
    InputRejected
        It is not there or not in SQuAD's format.
    """
    path = data / FILES[name]
    try:
        articles = msgspec.json.decode(path.read_bytes())["data"]
        return (_xquad if name == "xquad" else _policyqa)(articles)
    except OSError as error:
        raise InputRejected(
            f"{path} cannot be read ({error.strerror}); --data names the folder above {name}/"
        ) from error
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise InputRejected(f"{path} is not in SQuAD's format ({type(error).__name__}: {error})") from error


def without(data: DataSet, removed: Iterable[str]) -> DataSet:
    """The data set without some documents; questions that lose all of their documents have no answer any more."""
    gone = frozenset(removed)
    questions = []
    for question in data.questions:
        documents = tuple(document for document in question.documents if document not in gone)
        if len(documents) < len(question.documents):
            spans = tuple(span for span in question.spans if span[0] not in gone)
            answers = question.answers if documents else ()
            question = msgspec.structs.replace(question, doc=documents, spans=spans, answers=answers)  # noqa: PLW2901
        questions.append(question)
    return DataSet(tuple(document for document in data.documents if document.id not in gone), tuple(questions))


def chosen(data: DataSet, share: float, seed: int) -> list[str]:
    """A share of the documents that answer something, at random."""
    candidates = sorted({document for question in data.questions for document in question.documents})
    return random.Random(seed).sample(candidates, round(share * len(candidates)))


def write(data: DataSet, out: Path) -> None:
    """Write documents, their list and the questions into a new or empty folder.

    Raises
    ------
    InputRejected
        The folder holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise InputRejected(f"{out} is not empty; name a new folder, so that no document of another run stays in it")
    for document in data.documents:
        path = out / "documents" / document.id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.text.encode())
    listed = [{"doc": document.id, "labels": document.labels} for document in data.documents]
    (out / "documents.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in listed))
    write_questions(out / "questions.jsonl", data.questions)


def _xquad(articles: Sequence[Any]) -> DataSet:
    documents, questions = [], []
    for article in articles:
        name, text = f"{_file_name(article['title'])}.txt", ""
        for paragraph in article["paragraphs"]:
            text += _SEPARATOR if text else ""
            at = len(text)
            text += paragraph["context"]
            questions += [
                KnownQuestion(
                    id=qa["id"],
                    question=qa["question"].strip(),
                    answers=_distinct(answer["text"] for answer in qa["answers"]),
                    doc=(name,),
                    spans=_spans(name, qa["answers"], at),
                )
                for qa in paragraph["qas"]
            ]
        documents.append(Document(name, text))
    return DataSet(tuple(documents), tuple(questions))


def _policyqa(articles: Sequence[Any]) -> DataSet:
    documents = []
    asked: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for article in articles:
        policy = _file_name(article["title"])
        for n, paragraph in enumerate(article["paragraphs"]):
            name = f"{policy}/{n:03}.txt"
            documents.append(Document(name, paragraph["context"], {"policy": policy}))
            for qa in paragraph["qas"]:
                asked.setdefault((policy, qa["question"].strip()), []).append((name, qa))
    questions = [
        KnownQuestion(
            id=annotated[0][1]["id"],
            question=question,
            answers=_distinct(answer["text"] for _, qa in annotated for answer in qa["answers"]),
            doc=_distinct(name for name, _ in annotated),
            spans=_distinct(span for name, qa in annotated for span in _spans(name, qa["answers"], 0)),
            labels={"policy": policy},
        )
        for (policy, question), annotated in asked.items()
    ]
    return DataSet(tuple(documents), tuple(questions))


def _spans(document: str, answers: Iterable[Any], at: int) -> tuple[tuple[str, int, int], ...]:
    starts = ((at + answer["answer_start"], len(answer["text"])) for answer in answers)
    return _distinct((document, start, start + length) for start, length in starts)


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(values))


def _file_name(title: str) -> str:
    return re.sub(r"[^\w.,()-]+", "_", title).strip("._") or "untitled"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments and write a data set."""
    parser = argparse.ArgumentParser(prog="python -m bench.datasets", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", choices=FILES, help="which data set")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with the data sets")
    parser.add_argument("--leave-out", type=float, default=0.0, metavar="SHARE", help="share of documents to leave out")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    given = parser.parse_args(arguments)
    if not 0 <= given.leave_out < 1:
        parser.error(f"--leave-out {given.leave_out} is no share; it is at least 0 and below 1")
    try:
        data = load(given.name, given.data)
        data = without(data, chosen(data, given.leave_out, given.seed))
        write(data, given.out)
    except InputRejected as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    n = sum(question.unanswerable for question in data.questions)
    print(f"{given.out}: {len(data.documents)} documents, {len(data.questions)} questions, {n} of them without answer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
