"""Laws about which files are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import InputRejected
from millrace.ingest.walk import IgnorePattern, Rules, Walk


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def ids(root: Path, *, prefix: str = "", include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [file.id for file in Walk(root, Rules(include, exclude), prefix)]


def test_text_files_come_in_order_of_their_paths_and_hidden_ones_do_not(tmp_path: Path) -> None:
    make(tmp_path, "b.md", "a/z.TXT", "a/y.markdown", "c.png", ".hidden.md", ".git/x.md", "noext")
    assert ids(tmp_path) == ["a/y.markdown", "a/z.TXT", "b.md"]
    assert ids(tmp_path, prefix="/kb/") == ["kb/a/y.markdown", "kb/a/z.TXT", "kb/b.md"]


def test_a_single_file_is_named_by_its_file_name(tmp_path: Path) -> None:
    make(tmp_path, "a/z.md", "a/other.md", "a/x.png")
    assert ids(tmp_path / "a" / "z.md") == ["z.md"]
    walk = Walk(tmp_path / "a" / "x.png", Rules())
    assert (list(walk), [skipped.reason for skipped in walk.skipped]) == ([], ["type"])


def test_ignore_files_hold_for_their_folder_and_the_inner_one_decides(tmp_path: Path) -> None:
    make(tmp_path, "keep.md", "drafts/a.md", "sub/drafts/b.md", "sub/old-1.md", "sub/keep/old-2.md", "top.md")
    (tmp_path / ".millraceignore").write_text("# comment\n\ndrafts/\nold-*\n/top.md\n")
    (tmp_path / "sub" / "keep" / ".millraceignore").write_text("!old-2.md\n")
    assert ids(tmp_path) == ["keep.md", "sub/keep/old-2.md"]


def test_include_and_exclude_narrow_down(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "b.txt", "x/c.md", "x/y/d.md")
    assert ids(tmp_path, include=("*.md",)) == ["a.md", "x/c.md", "x/y/d.md"]
    assert ids(tmp_path, include=("x/",), exclude=("y",)) == ["x/c.md"]


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
    ],
)
def test_patterns_mean_what_they_mean_in_a_gitignore(pattern: str, path: str, matches: bool) -> None:
    found = IgnorePattern.parse(pattern)
    assert found is not None
    assert found.matches(path, folder=False) is matches


def test_a_document_is_lost_only_where_its_file_is_certainly_gone(tmp_path: Path) -> None:
    make(tmp_path, "here.md", "sub/x.md")
    walk = Walk(tmp_path, Rules(), "kb")
    assert not walk.lost("kb/here.md")
    assert walk.lost("kb/gone.md")
    assert walk.lost("kb/here.md/inner.md")
    assert not walk.lost("other/gone.md")
    assert not walk.lost("kb/" + "n" * 300)
    assert not Walk(tmp_path / "here.md", Rules()).lost("gone.md")


@pytest.mark.parametrize("pattern", ["[", "[]", "[!]", "[[a].md", "\\", "a\\", "(", "a{2}"])
def test_characters_of_regular_expressions_stand_for_themselves(pattern: str) -> None:
    found = IgnorePattern.parse(pattern)
    assert found is not None
    assert not found.matches("somewhere/else.txt", folder=False)


def test_a_pattern_that_can_mean_nothing_is_refused() -> None:
    with pytest.raises(InputRejected, match=r"z-a.*gitignore"):
        IgnorePattern.parse("[z-a].md")
