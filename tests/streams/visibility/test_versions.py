"""Decoded versions stay in memory by their size, not by their number."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.visibility import versions as versions_module
from streams.visibility.file import TableFile
from streams.visibility.versions import Versions
from tests.streams.visibility.corpus_log import CODEC, CorpusLog, Open, acl, fold, indexed


class CountedFile(TableFile):
    """A table's file that notes how often it is asked for a version."""

    n_selected = 0

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        self.n_selected += 1
        return super().select(sql, values)


@contextmanager
def opened(
    open_table: Open, log: CorpusLog, tmp_path: Path, n_chunks: Sequence[int]
) -> Iterator[tuple[CountedFile, Versions, list[int]]]:
    """The file of a table with a document of so many chunks each, what keeps 40 of them in memory, and the rows."""
    table = open_table()
    fold(table, log, *(acl(f"{n}.md", 1, "*") for n in range(len(n_chunks))))
    fold(table, log, *(indexed(f"{n}.md", 1, size) for n, size in enumerate(n_chunks)))
    table.close()
    with CountedFile(tmp_path / "visibility.sqlite", "epoch") as file:
        rows = [row for (row,) in file.select("SELECT id FROM versions ORDER BY id")]
        yield file, Versions(file, CODEC, max_refs=40), rows


@pytest.mark.parametrize(
    ("n_chunks", "fits"),
    [
        ((2, 2, 2, 2), True),
        ((12, 12, 12, 12), False),
        ((90, 90), False),
        ((1, 1, 1, 1), True),
        ((1, 1, 1, 1, 1), False),
    ],
)
def test_as_many_versions_are_kept_as_their_chunks_allow(
    open_table: Open, log: CorpusLog, tmp_path: Path, n_chunks: tuple[int, ...], fits: bool
) -> None:
    with opened(open_table, log, tmp_path, n_chunks) as (file, versions, rows):
        first = [versions.get(row) for row in rows]
        file.n_selected = 0
        assert [versions.get(row) for row in rows] == first
        assert file.n_selected == (0 if fits else len(rows))
        file.n_selected = 0
        assert versions.get(rows[-1]) is versions.get(rows[-1])
        assert file.n_selected == 0


def test_a_large_version_leaves_its_room_to_those_that_come_after_it(
    open_table: Open, log: CorpusLog, tmp_path: Path
) -> None:
    with opened(open_table, log, tmp_path, (90, 2, 2, 2, 2)) as (file, versions, rows):
        for row in rows:
            versions.get(row)
        file.n_selected = 0
        for row in rows[1:]:
            versions.get(row)
        assert file.n_selected == 0


def test_a_version_that_is_asked_for_again_outlasts_those_that_are_not(
    open_table: Open, log: CorpusLog, tmp_path: Path
) -> None:
    with opened(open_table, log, tmp_path, (2, 2, 2, 2, 2)) as (file, versions, rows):
        for row in (*rows[:4], rows[0], rows[4]):
            versions.get(row)
        file.n_selected = 0
        versions.get(rows[0])
        assert file.n_selected == 0
        versions.get(rows[1])
        assert file.n_selected == 1


def test_of_lists_of_chunk_ids_no_more_are_kept_than_there_is_room_for(
    open_table: Open, log: CorpusLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_module, "_MAX_LISTS", 2)
    with opened(open_table, log, tmp_path, (2, 2, 2)) as (file, versions, rows):
        found = [versions.chunk_ids(row) for row in rows]
        file.n_selected = 0
        assert [versions.chunk_ids(row) for row in rows[1:]] == found[1:]
        assert file.n_selected == 0
        versions.keep(dict.fromkeys(rows[1:], b""))
        assert versions.chunk_ids(rows[0]) == found[0]
        assert file.n_selected == 1
