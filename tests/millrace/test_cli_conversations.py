"""What is kept of conversations between commands is bounded, and no damage of the file stops a question."""

from pathlib import Path

import pytest

from millrace.cli.conversations import MOST, Conversations
from millrace.connection import Connection


@pytest.fixture
def kept(tmp_path: Path) -> Conversations:
    return Conversations(Connection(bootstrap="b:1", home=str(tmp_path), log_epoch="e"))


def test_the_conversations_that_were_silent_longest_are_forgotten_first(kept: Conversations) -> None:
    for n in range(MOST):
        kept.note("t", f"c{n}", f"w{n}")
    kept.note("t", "c0", "again")
    kept.note("t", "one more", "w")
    assert [kept.last("t", name) for name in ("c0", "c1", "c2", "one more")] == ["again", "", "w2", "w"]
    assert kept.last("other", "c0") == ""


@pytest.mark.parametrize("content", ["", "[]", '{"watermarks": 3}'])
def test_a_damaged_file_is_started_anew(kept: Conversations, tmp_path: Path, content: str) -> None:
    kept.note("t", "c", "w")
    (tmp_path / "run" / "conversations.json").write_text(content)
    assert kept.last("t", "c") == ""
    kept.note("t", "c", "w")
    assert kept.last("t", "c") == "w"


def test_nothing_is_kept_of_a_stack_elsewhere_or_in_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    elsewhere = Conversations(Connection(bootstrap="b:1"))
    elsewhere.note("t", "c", "w")
    (tmp_path / "run").write_text("a file where the folder should be")
    blocked = Conversations(Connection(bootstrap="b:1", home=str(tmp_path)))
    blocked.note("t", "c", "w")
    assert elsewhere.last("t", "c") == blocked.last("t", "c") == ""
