"""Cut a parsed document into chunks whose borders depend on nearby content alone: pure.

A paragraph decides by itself whether a chunk ends after it: long ones always do, short ones when a hash of their first
words says so. So an edit changes the chunk it stands in, an insertion one more, and everything else keeps its hash and
its vector. A chunk over the token limit is cut where the hash of a unit (paragraph, then sentence or line, then word)
is smallest, which is again a place that an edit elsewhere does not move.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec
from millrace.ids import content_hash

from agents.corpus.parse import Block, ParsedText
from agents.corpus.policy import CorpusPolicy
from agents.corpus.sentences import sentences

CountTokens = Callable[[Sequence[str]], list[int]]

# A short paragraph ends a chunk with probability length / (JOIN_FACTOR * min_block_chars): small enough to join
# several, and a rewritten paragraph seldom changes sides (p(1 - p) extra chunks per edit).
JOIN_FACTOR = 3.0
DECIDING_CHARS = 40
_WORD = re.compile(r"\S+\s*")
_LINE = re.compile(r"[^\n]*\S[^\n]*")


class Chunk(msgspec.Struct, frozen=True):
    """A passage to embed.

    Attributes
    ----------
    start, end : int
        Characters of the parsed text, end exclusive.
    heading : str
        Heading path as it is embedded.
    text : str
        Exactly ``parsed.text[start:end]``.
    """

    start: int
    end: int
    heading: str
    text: str

    @property
    def embedded(self) -> str:
        """What the model reads and what the content hash covers."""
        return embedded_text(self.heading, self.text)

    @property
    def hash(self) -> str:
        """Content hash, hex."""
        return content_hash(self.embedded)


def embedded_text(heading: str, text: str) -> str:
    """Heading path and text as the model reads them."""
    return f"{heading}\n\n{text}" if heading else text


def short_heading(path: str, max_chars: int) -> str:
    """Bound a heading path, dropping its front: the nearest headings say most."""
    while len(path) > max_chars and " > " in path:
        path = path.split(" > ", 1)[1]
    return path[:max_chars].rstrip()


def chunk(parsed: ParsedText, policy: CorpusPolicy, count_tokens: CountTokens) -> tuple[Chunk, ...]:
    """Cut a document.

    Parameters
    ----------
    parsed : ParsedText
        The document.
    policy : CorpusPolicy
        Sizes.
    count_tokens : callable
        Tokens of each of several texts, as the model counts them.

    Returns
    -------
    tuple of Chunk
        In reading order, without overlap; together they cover every block. None is over ``policy.max_tokens``, unless
        a single character is.
    """
    pieces = [_Piece(short_heading(run[0].heading, policy.max_heading_chars), run) for run in _runs(parsed, policy)]
    done: list[_Piece] = []
    while pieces:
        counts = count_tokens([embedded_text(piece.heading, piece.slice(parsed.text)) for piece in pieces])
        over: list[_Piece] = []
        for piece, n_tokens in zip(pieces, counts, strict=True):
            if n_tokens <= policy.max_tokens or piece.end - piece.start <= 1:
                done.append(piece)
            else:
                over += _halves(piece, parsed.text)
        pieces = over
    done.sort(key=lambda piece: piece.start)
    return tuple(Chunk(piece.start, piece.end, piece.heading, piece.slice(parsed.text)) for piece in done)


class _Piece:
    """A candidate chunk: the blocks it is made of, or the spans of one block that was cut."""

    def __init__(self, heading: str, blocks: Sequence[Block]) -> None:
        self.heading = heading
        self.blocks = blocks
        self.start = blocks[0].start
        self.end = blocks[-1].end

    def slice(self, text: str) -> str:
        return text[self.start : self.end]


def _runs(parsed: ParsedText, policy: CorpusPolicy) -> Iterator[list[Block]]:
    """Join blocks of one section until one of them ends the chunk."""
    run: list[Block] = []
    for block in parsed.blocks:
        if run and (block.section != run[-1].section or run[-1].kind == "meta"):
            yield run
            run = []
        run.append(block)
        if _ends_chunk(parsed.text[block.start : block.end], policy.min_block_chars):
            yield run
            run = []
    if run:
        yield run


def _ends_chunk(text: str, min_chars: int) -> bool:
    if len(text) >= min_chars:
        return True
    if text.endswith(":"):  # it introduces what follows
        return False
    return _hash(text[:DECIDING_CHARS]) / 2**64 < len(text) / (JOIN_FACTOR * min_chars)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _halves(piece: _Piece, text: str) -> list[_Piece]:
    """Cut a piece in two at the unit with the smallest hash among the middle ones."""
    if len(piece.blocks) > 1:
        cut = _cut([(block.start, block.end) for block in piece.blocks], text)
        return [_Piece(piece.heading, piece.blocks[:cut]), _Piece(piece.heading, piece.blocks[cut:])]
    block = piece.blocks[0]
    units = next(found for found in _levels(block, text) if len(found) > 1)
    cut = _cut(units, text)
    before = msgspec.structs.replace(block, end=units[cut - 1][1])
    after = msgspec.structs.replace(block, start=units[cut][0])
    return [_Piece(piece.heading, [before]), _Piece(piece.heading, [after])]


def _levels(block: Block, text: str) -> Iterator[list[tuple[int, int]]]:
    inside = text[block.start : block.end]
    if block.kind == "text":
        yield [(block.start + start, block.start + end) for start, end in sentences(inside)]
    yield [(block.start + line.start(), block.start + line.end()) for line in _LINE.finditer(inside)]
    yield [
        (block.start + word.start(), block.start + len(word[0].rstrip()) + word.start())
        for word in _WORD.finditer(inside)
    ]
    yield [(at, at + 1) for at in range(block.start, block.end)]


def _cut(units: Sequence[tuple[int, int]], text: str) -> int:
    """Index of the unit that starts the second half."""
    start, end = units[0][0], units[-1][1]
    quarter = (end - start) / 4
    middle = [i for i in range(1, len(units)) if start + quarter <= units[i][0] <= end - quarter]
    centre = (start + end) / 2
    return min(
        middle or range(1, len(units)),
        key=lambda i: (_hash(text[units[i][0] : units[i][1]]), abs(units[i][0] - centre), i),
    )
