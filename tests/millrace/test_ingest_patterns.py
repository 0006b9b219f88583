"""Laws about patterns: they mean what they mean in a .gitignore, and no name makes them slow."""

from __future__ import annotations

import fnmatch
import itertools
import time

import pytest

from millrace.errors import InputRejected
from millrace.ingest.patterns import IgnorePattern


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.md", "a/b.md", True),
        ("/*.md", "a/b.md", False),
        ("a/*.md", "a/b.md", True),
        ("a/*.md", "a/c/b.md", False),
        ("a/**/b.md", "a/b.md", True),
        ("a/**/b.md", "a/x/y/b.md", True),
        ("**/b.md", "b.md", True),
        ("a/**", "a/x/y", True),
        ("?.md", "ab.md", False),
        ("[ab].md", "b.md", True),
        ("[!ab].md", "b.md", False),
        ("[a-c].md", "b.md", True),
        ("a.md", "aXmd", False),
        ("\\#a.md", "#a.md", True),
        ("(a+).md", "(a+).md", True),
        ("a/**/b/**/c.md", "a/b/x/b/c.md", True),
        ("a/**/b/c.md", "a/b/x/b/c.md", True),
        ("a/**/b/*/c.md", "a/b/x/b/c.md", False),
        ("*.md", "line\nbreak.md", True),
        ("**/x*y/**", "a/x1/xy/b", True),
        ("a[+-9]b", "a/b", False),
        ("[^a].md", "b.md", True),
        ("/", "a.md", False),
        ("**", "a/b.md", True),
    ],
)
def test_patterns_mean_what_they_mean_in_a_gitignore(pattern: str, path: str, matches: bool) -> None:
    found = IgnorePattern.parse(pattern)
    assert found is not None
    assert found.matches(path, folder=False) is matches


def test_a_wildcard_matches_whatever_any_way_of_filling_it_in_would() -> None:
    names = ["".join(name) for n in range(6) for name in itertools.product("ab", repeat=n)]
    for pattern in ("".join(p) for n in range(1, 5) for p in itertools.product("ab*?", repeat=n)):
        if "**" in pattern:
            continue
        found = IgnorePattern.parse(f"/{pattern}")
        assert found is not None
        meant = {name for name in names if fnmatch.fnmatchcase(name, pattern)}
        assert {name for name in names if found.matches(name, folder=False)} == meant, pattern


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 12 + "*b", "a" * 4_000),
        ("*?" * 40 + "b", "a" * 250),
        ("**/a/" * 12 + "b", "a/" * 2_000 + "c"),
        ("**/*a*a*a*a*a/" * 6 + "b", f"{'a' * 250}/" * 16 + "c"),
    ],
)
def test_no_name_makes_a_pattern_slow(pattern: str, path: str) -> None:
    found = IgnorePattern.parse(pattern)
    assert found is not None
    began = time.process_time()
    assert not found.matches(path, folder=False)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("pattern", ["[", "[]", "[!]", "[[a].md", "\\", "a\\", "(", "a{2}", "[+--b&&c||d~~e[[f]"])
def test_characters_of_regular_expressions_stand_for_themselves(pattern: str) -> None:
    found = IgnorePattern.parse(pattern)
    assert found is not None
    assert not found.matches("somewhere/else.txt", folder=False)


def test_a_pattern_that_can_mean_nothing_is_refused() -> None:
    with pytest.raises(InputRejected, match=r"z-a.*gitignore"):
        IgnorePattern.parse("[z-a].md")
