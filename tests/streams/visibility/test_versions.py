"""Decoded versions stay in memory by their size, not by their number."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from streams.visibility.file import TableFile
from streams.visibility.versions import Versions
from tests.streams.visibility.corpus_log import CODEC, CorpusLog, Open, acl, fold, indexed


class CountedFile(TableFile):
    """A table's file that notes how often it is asked for a version."""

    n_selected = 0

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        self.n_selected += 1
        return super().select(sql, values)


@pytest.mark.parametrize(("n_chunks", "fits"), [((2, 2, 2, 2), True), ((12, 12, 12, 12), False), ((90, 90), False)])
def test_as_many_versions_are_kept_as_their_chunks_allow(
    open_table: Open, log: CorpusLog, tmp_path: Path, n_chunks: tuple[int, ...], fits: bool
) -> None:
    table = open_table()
    fold(table, log, *(acl(f"{n}.md", 1, "*") for n in range(len(n_chunks))))
    fold(table, log, *(indexed(f"{n}.md", 1, size) for n, size in enumerate(n_chunks)))
    table.close()
    with CountedFile(tmp_path / "visibility.sqlite", "epoch") as file:
        rows = [row for (row,) in file.select("SELECT id FROM versions ORDER BY id")]
        versions = Versions(file, CODEC, max_refs=40)
        first = [versions.get(row) for row in rows]
        file.n_selected = 0
        assert [versions.get(row) for row in rows] == first
        assert file.n_selected == (0 if fits else len(rows))
        file.n_selected = 0
        assert versions.get(rows[-1]) is versions.get(rows[-1])
        assert file.n_selected == 0
