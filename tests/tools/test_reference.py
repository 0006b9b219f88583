"""The reference pages say what the code says."""

from pathlib import Path

from tools import reference


def test_committed_pages_are_what_the_code_says() -> None:
    assert reference.main(["--check"]) == 0


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    assert reference.main([], tmp_path) == 0
    assert reference.main(["--check"], tmp_path) == 0
    (tmp_path / "events.md").write_text("old")
    assert reference.main(["--check"], tmp_path) == 1


def test_pages_name_every_error_and_setting() -> None:
    page = reference.settings_page()
    assert "MILLRACE_WORKER__MAX_UNCOMMITTED" in page
    assert "| `answer_threshold` | `0.55` |" in page
    assert "`log_truncated`" in reference.errors_page()


def test_the_page_of_commands_names_every_command_with_its_options() -> None:
    page = reference.commands_page()
    for heading in (
        "## millrace ask",
        "## millrace dlq replay",
        "## python -m infra up",
        "## python -m infra gateway",
        "## python -m infra keys new",
    ):
        assert heading in page.splitlines()
    assert "| `--top-k` | `10` |" in page
    assert "| `QUESTION` | required |" in page
