import random
import re
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.corpus.chunk import Chunk, chunk, embedded_text, short_heading
from agents.corpus.parse import parse
from agents.corpus.policy import CorpusPolicy
from tests.texts import document, paragraph

POLICY = CorpusPolicy()
PARAGRAPHS = {"long": 40, "short": 160, "mixed": 70, "huge": 16}
N_DOCUMENTS = 40


def count_tokens(texts: Sequence[str]) -> list[int]:
    return [int(1.35 * len(re.findall(r"\w+|[^\w\s]", text))) + 2 for text in texts]


def cut(text: str, media_type: str = "text/markdown", policy: CorpusPolicy = POLICY) -> tuple[Chunk, ...]:
    return chunk(parse(text.encode(), media_type), policy, count_tokens)


def hashes(paragraphs: Sequence[str]) -> Counter[str]:
    return Counter(piece.hash for piece in cut("\n\n".join(paragraphs), "text/plain"))


def mean_embedded(shape: str, edit: str) -> float:
    """Chunks to embed per edited paragraph, over many documents."""
    embedded = []
    for seed in range(N_DOCUMENTS):
        rng = random.Random(seed)
        before = document(rng, PARAGRAPHS[shape], shape)
        known = hashes(before)
        assert known.total() >= 20
        at = rng.randrange(len(before))
        after = list(before)
        if edit == "word":
            words = before[at].split()
            words[rng.randrange(len(words))] = "changed"
            after[at] = " ".join(words)
        elif edit == "append":
            after[at] += " And one more sentence here."
        elif edit == "rewrite":
            after[at] = paragraph(rng, len(before[at].split()))
        else:
            after.insert(0, paragraph(rng, rng.randint(3, 60)))
        embedded.append((hashes(after) - known).total())
    return sum(embedded) / len(embedded)


@pytest.mark.parametrize("edit", ["word", "append"])
@pytest.mark.parametrize("shape", ["long", "short", "mixed", "huge"])
def test_an_edited_paragraph_costs_at_most_a_fifth_more_than_one_chunk(shape: str, edit: str) -> None:
    assert mean_embedded(shape, edit) <= 1.2


@pytest.mark.parametrize("shape", ["long", "short", "mixed"])
def test_a_rewritten_paragraph_costs_at_most_a_fifth_more_than_one_chunk(shape: str) -> None:
    assert mean_embedded(shape, "rewrite") <= 1.2


@pytest.mark.parametrize("shape", ["long", "short", "mixed", "huge"])
def test_a_paragraph_inserted_at_the_top_costs_at_most_two_chunks(shape: str) -> None:
    assert mean_embedded(shape, "insert") <= 2


def test_short_paragraphs_share_chunks() -> None:
    paragraphs = document(random.Random(1), 160, "short")
    assert hashes(paragraphs).total() < len(paragraphs) / 2


def test_a_paragraph_that_introduces_stays_with_what_follows() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        intro = f"{paragraph(rng, 8)[:-1]}:"
        follows = paragraph(rng, 60)
        assert any(intro in piece.text and follows in piece.text for piece in cut(f"{intro}\n\n{follows}\n"))


def test_a_code_block_that_fits_is_not_cut() -> None:
    code = "```python\n" + "\n\n".join(f"def f{i}():\n    return {i}" for i in range(8)) + "\n```"
    text = "\n\n".join([*document(random.Random(2), 5, "mixed"), code, *document(random.Random(3), 5, "mixed")])
    assert any(code in piece.text for piece in cut(text))


@pytest.mark.parametrize(
    "text",
    [
        "word " * 3_000,
        "x" * 3_000,
        "x.y-" * 900,
        "字" * 3_000,
        "# " + "long heading " * 40 + "\n\n" + "word " * 2_000,
        "```\n" + "some = code(1, 2)\n" * 400 + "```",
        "\n\n".join("a b c" for _ in range(2_000)),
        "- item\n" * 1_000,
        "| a | b |\n" * 700,
    ],
)
def test_no_chunk_is_over_the_token_limit(text: str) -> None:
    pieces = cut(text)
    assert max(count_tokens([piece.embedded for piece in pieces])) <= POLICY.max_tokens
    assert "".join("".join(piece.text.split()) for piece in pieces) in "".join(text.split())


def test_the_heading_path_is_embedded_and_bounded_from_its_front() -> None:
    piece = cut("# Guide\n\n## Keys\n\nRotate them.\n")[0]
    assert (piece.text, piece.embedded) == ("Rotate them.", "Guide > Keys\n\nRotate them.")
    assert short_heading("Guide > Part > Keys", 12) == "Part > Keys"
    assert short_heading("x" * 50, 12) == "x" * 12
    assert embedded_text("", "alone") == "alone"


markdown = st.lists(
    st.sampled_from(
        ["# A", "## B", "short.", "- x\n- y", "```\ncode\n\ncode\n```", "word " * 300, "字" * 400, "", "Intro:"]
    )
    | st.text(alphabet="aé字 .\n#`", max_size=80),
    max_size=12,
).map("\n\n".join)


@given(markdown)
def test_chunks_slice_the_text_in_order_and_cover_every_block(text: str) -> None:
    parsed = parse(text.encode(), "text/markdown")
    pieces = chunk(parsed, POLICY, count_tokens)
    covered: set[int] = set()
    at = 0
    for piece in pieces:
        assert at <= piece.start < piece.end
        assert piece.text == parsed.text[piece.start : piece.end]
        at = piece.end
        covered |= set(range(piece.start, piece.end))
    for block in parsed.blocks:
        visible = {i for i in range(block.start, block.end) if not parsed.text[i].isspace()}
        assert visible <= covered


@given(markdown)
def test_the_same_text_is_cut_the_same_way(text: str) -> None:
    assert cut(text) == cut(text)
