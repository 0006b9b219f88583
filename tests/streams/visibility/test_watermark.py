import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import InvalidEvent
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED
from streams.visibility import watermark

TOPICS = st.sampled_from([ACL_CHANGED.name, DOCUMENT_INDEXED.name])
OFFSETS = st.dictionaries(st.tuples(TOPICS, st.integers(0, 99)), st.integers(1, 2**40))


@given(OFFSETS)
def test_a_watermark_survives_its_text(offsets: dict[tuple[str, int], int]) -> None:
    tag = watermark.epoch_tag("log")
    assert watermark.parse(watermark.render(tag, offsets)) == (tag, offsets)


def test_a_watermark_names_the_two_visibility_topics_alone() -> None:
    offsets = {(DOCUMENT_INDEXED.name, 1): 5, (ACL_CHANGED.name, 0): 3, (DOCUMENT_SETTLED.name, 0): 9}
    assert watermark.render("e", {**offsets, (ACL_CHANGED.name, 7): 0}) == "e/i:1=5;a:0=3"


@given(OFFSETS, OFFSETS)
def test_a_watermark_is_reached_when_every_partition_is(
    folded: dict[tuple[str, int], int], wanted: dict[tuple[str, int], int]
) -> None:
    assert watermark.reached(folded, {})
    assert watermark.reached(folded, wanted) == all(wanted[at] <= folded.get(at, 0) for at in wanted)


@pytest.mark.parametrize("text", ["12", "e/x:0=1", "e/i:0", "e/i:a=1", "e/i:0=1;;a", "/:"])
def test_a_malformed_watermark_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent, match="watermark"):
        watermark.parse(text)
