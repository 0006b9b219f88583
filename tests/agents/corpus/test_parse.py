import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.corpus.parse import decode, parse
from millrace.errors import Unreadable

TITLE_CASES = {
    "# One\n\ntext": "One",
    "text first\n\n## Two ##\n": "Two",
    "Three\n=====\n\ntext": "Three",
    '---\ntitle: "Four"\nowner: me\n---\n# Five\n': "Four",
    "```\n# no heading\n```\n": "",
    "#no heading\n": "",
    "plain": "",
}


def headings(text: str) -> list[tuple[str, str]]:
    parsed = parse(text.encode(), "text/markdown")
    return [(block.heading, parsed.text[block.start : block.end]) for block in parsed.blocks]


@pytest.mark.parametrize(("text", "title"), TITLE_CASES.items())
def test_the_title_is_the_first_heading(text: str, title: str) -> None:
    assert parse(text.encode(), "text/markdown").title == title


def test_blocks_stand_under_their_heading_path() -> None:
    text = "before\n\n# A\n\nin a\n\n## B\n\nin b\n\n### C\n\nin c\n\n## D\n\nin d\n\n# E\n\nin e"
    assert headings(text) == [
        ("", "before"),
        ("A", "in a"),
        ("A > B", "in b"),
        ("A > B > C", "in c"),
        ("A > D", "in d"),
        ("E", "in e"),
    ]


def test_a_heading_that_nothing_follows_is_text_of_its_parents_and_one_with_subsections_is_not() -> None:
    text = "# Rules\n\n## No refunds after 30 days\n\n## Returns\n\n### By post\n\nSend it.\n\n## Last"
    assert headings(text) == [
        ("Rules", "## No refunds after 30 days"),
        ("Rules > Returns > By post", "Send it."),
        ("Rules", "## Last"),
    ]


def test_a_code_block_is_one_block_whatever_it_holds() -> None:
    code = "```python\n# comment\n\nx = 1\n~~~\n```"
    assert headings(f"text\n{code}\nafter") == [("", "text"), ("", code), ("", "after")]


def test_an_open_fence_reaches_to_the_end() -> None:
    assert headings("a\n\n````\n```\n\n# b\n") == [("", "a"), ("", "````\n```\n\n# b\n")]


def test_plain_text_has_no_headings() -> None:
    parsed = parse(b"# not a heading\n\nsecond", "text/plain; charset=utf-8")
    assert (parsed.title, [block.heading for block in parsed.blocks]) == ("", ["", ""])


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (b"\xff\xfe\x00", "text/plain", "encoding"),
        ("grün".encode("latin-1"), "text/markdown", "encoding"),
        ("text".encode("utf-16-le"), "text/plain", "binary"),
        (bytes(range(32)) * 4, "text/plain", "binary"),
        (b"%PDF", "application/pdf", "media_type"),
    ],
)
def test_what_is_no_text_is_refused_with_a_reason(data: bytes, media_type: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parse(data, media_type)
    assert refused.value.reason == reason


def test_newlines_marks_and_single_control_characters_are_normalised() -> None:
    assert decode("\ufeffa\r\nb\rc\x0cd\x00e\tf\u2028g".encode()).text == "a\nb\nc\nd e\tf\ng"


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]) | st.sampled_from("\n#`~-=>|")))
def test_every_visible_character_is_in_one_block_or_is_a_heading(text: str) -> None:
    parsed = parse(text.encode(), "text/markdown")
    covered = 0
    for block in parsed.blocks:
        assert block.start >= covered
        between = parsed.text[covered : block.start]
        # Between blocks stand headings alone: a `#` line, or a line with its underline.
        assert all(_is_heading(line) for line in between.split("\n") if line.strip()), between
        covered = block.end
    assert all(_is_heading(line) for line in parsed.text[covered:].split("\n") if line.strip())


def _is_heading(line: str) -> bool:
    return line.lstrip().startswith("#") or set(line.strip()) <= {"="} or set(line.strip()) <= {"-"}
