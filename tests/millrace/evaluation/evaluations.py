"""Documents, answers and judgements for tests of evaluation."""

from typing import Any

from millrace.client.answers import Answer
from millrace.evaluation.asking import AskingOptions
from millrace.evaluation.judging import FoundChunk, FoundQuote, Judgement
from millrace.evaluation.run import Run
from millrace.events.corpus import ChunkRef, DocumentIndexed
from millrace.events.query import Citation, Hit

TENANT = "acme"


def version(document: str = "a.md", *borders: tuple[int, int], **fields: Any) -> DocumentIndexed:
    """A version with chunks ``<document>:0`` and so on, by the characters they cover."""
    chunks = tuple(ChunkRef(f"{document}:{n}", start, end, 0, 0) for n, (start, end) in enumerate(borders))
    return DocumentIndexed(tenant=TENANT, document=document, version=1, headings=("",), chunks=chunks, **fields)


def answer(*chunks: str, quotes: tuple[tuple[str, int, int], ...] = (), text: str = "", found: bool = True) -> Answer:
    """An answer that retrieved chunks, best first, and quotes characters of documents."""
    hits = tuple(
        Hit(chunk, chunk.partition(":")[0], 1, place, 1 / place, 0.0, 0.0) for place, chunk in enumerate(chunks, 1)
    )
    cited = tuple(Citation(name, 1, "c", "", "", start, end, f"{start}-{end}") for name, start, end in quotes)
    return Answer(text=text, found=found, hits=hits, citations=cited, latency_ms=20.0, trace_id="t1")


def judgement(id_: str = "q1", *right: bool, quotes: tuple[bool, ...] = (), **fields: Any) -> Judgement:
    """A judgement that retrieved right and wrong chunks, best first."""
    known: dict[str, Any] = {
        "id": id_,
        "question": f"What is {id_}?",
        "expected": ("a.md",),
        "answers": ("six",),
        "n_right": 1,
        "status": "answered",
        "text": "six",
        "latency_ms": 10.0,
        "signal": 0.7,
        "chunks": tuple(
            FoundChunk(document="a.md", chunk_id=f"c{n}", score=1.0, right=is_right) for n, is_right in enumerate(right)
        ),
        "quotes": tuple(FoundQuote(document="a.md", text="It is six.", right=is_right) for is_right in quotes),
    }
    return Judgement(**{**known, **fields})


def unanswerable(id_: str, *, refused: bool, signal: float) -> Judgement:
    """A judgement of a question that nothing answers."""
    status = "not_found" if refused else "answered"
    return judgement(id_, expected=(), answers=(), n_right=0, status=status, signal=signal)


def run_of(*judgements: Judgement, **fields: Any) -> Run:
    """A run of judgements."""
    made_at = "2026-01-02T03:04:05Z"
    return Run(questions="q.jsonl", made_at=made_at, options=AskingOptions(), judgements=judgements, **fields)
