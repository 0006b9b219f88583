"""What a store does with a request before it asks: bounded, whatever came in."""

from collections.abc import Iterable, Iterator

QUERY_TERMS = 64
TENANTS_AT_ONCE = 16
"""Tenants whose rows are written together: each has a commit of its own, and a busy loop hears of each one late."""


def query_terms(text: str) -> str:
    """Keep the first distinct words of a text, so that no question makes a search expensive."""
    words = text.encode("utf-8", "replace").decode("utf-8").split()
    return " ".join(list(dict.fromkeys(words))[:QUERY_TERMS])


def chunked(values: Iterable[str], size: int = 2_000) -> Iterator[list[str]]:
    """Cut values into lists that one condition can name."""
    items = list(values)
    for start in range(0, len(items), size):
        yield items[start : start + size]
