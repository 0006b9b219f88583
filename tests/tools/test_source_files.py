"""Laws about which files the checks look at."""

import subprocess
from pathlib import Path

from tools.source_files import repository_files


def test_new_files_are_checked_before_they_are_added_and_ignored_ones_never(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("*.log\n", encoding="utf-8")
    (tmp_path / "new.py").write_text("", encoding="utf-8")
    (tmp_path / "run.log").write_text("", encoding="utf-8")
    (tmp_path / "link.py").symlink_to("new.py")
    assert [path.name for path in repository_files(tmp_path)] == [".gitignore", "new.py"]


def test_a_file_deleted_from_the_tree_is_passed_over(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    gone = tmp_path / "gone.py"
    gone.write_text("", encoding="utf-8")
    subprocess.run(["git", "-C", str(tmp_path), "add", "gone.py"], check=True)
    gone.unlink()
    assert list(repository_files(tmp_path)) == []
