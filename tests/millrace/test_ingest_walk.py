"""Laws about which files are taken."""

from __future__ import annotations

from pathlib import Path

from millrace.ingest.walk import Rules, Walk


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
    walk = Walk(tmp_path, Rules(exclude=("d.*",)))
    make(tmp_path, "d.json", "e.JSON", "f.json")
    (tmp_path / "link").symlink_to("a")
    assert len(list(walk)) == 3
    assert (walk.skipped, walk.passed_over) == ([], {".png": 1, ".json": 2, "no ending": 1})
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


def test_a_document_is_lost_only_where_its_file_is_certainly_gone(tmp_path: Path) -> None:
    make(tmp_path, "here.md", "sub/x.md")
    walk = Walk(tmp_path, Rules(), "kb")
    assert not walk.lost("kb/here.md")
    assert walk.lost("kb/gone.md")
    assert walk.lost("kb/here.md/inner.md")
    assert not walk.lost("other/gone.md")
    assert not walk.lost("kb/" + "n" * 300)
    assert not Walk(tmp_path / "here.md", Rules()).lost("gone.md")


def test_a_link_that_leads_in_a_circle_is_reported_and_the_rest_is_taken(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "b.md")
    (tmp_path / "self.md").symlink_to("self.md")
    (tmp_path / "to.md").symlink_to("fro.md")
    (tmp_path / "fro.md").symlink_to("to.md")
    (tmp_path / "round").symlink_to(tmp_path)
    walk = Walk(tmp_path, Rules())
    assert [file.id for file in walk] == ["a.md", "b.md"]
    found = [(skipped.id, skipped.reason) for skipped in walk.skipped]
    assert found == [("fro.md", "unreadable"), ("self.md", "unreadable"), ("to.md", "unreadable")]
    assert not walk.lost("self.md")


def test_a_folder_whose_ignore_file_means_nothing_is_kept_back_with_its_line_named(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "sub/b.md", "sub/inner/c.md", "z.md")
    (tmp_path / "sub" / ".millraceignore").write_text("drafts\n[z-a].md\n")
    walk = Walk(tmp_path, Rules(), "kb")
    assert [file.id for file in walk] == ["kb/a.md", "kb/z.md"]
    (skipped,) = walk.skipped
    assert (skipped.id, skipped.reason) == ("kb/sub", "ignore_file")
    assert f"{tmp_path}/sub/.millraceignore, line 2: '[z-a].md'" in skipped.message
