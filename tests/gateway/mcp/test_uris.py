"""An address names a document and a version, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mcp.uris import place_of, uri_of


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50), st.integers(0, 10**17))
def test_an_address_leads_back_to_what_it_was_made_of(document: str, version: int) -> None:
    assert place_of(uri_of(document, version)) == (document, version)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "file:///etc/passwd",
        "millrace://documents/../versions/x",
        "millrace://documents/a/b/versions/1",
        "millrace://documents/a/versions/1?tenant=other",
        "millrace://documents/a/versions/-1",
        "millrace://other@documents/a/versions/1",
        "millrace://documents/" + "a" * 5000 + "/versions/1",
    ],
)
def test_any_other_address_names_nothing(uri: str) -> None:
    assert place_of(uri) is None


def test_dots_are_part_of_a_name() -> None:
    assert place_of("millrace://documents/..%2F..%2Fetc%2Fpasswd/versions/1") == ("../../etc/passwd", 1)
