"""A table of the test's own, and a log to fold into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.visibility import VisibilityTable
from tests.streams.visibility.corpus_log import CODEC, CorpusLog, Open


@pytest.fixture
def open_table(tmp_path: Path) -> Iterator[Open]:
    opened: list[VisibilityTable] = []

    def open_(epoch: str = "epoch", name: str = "visibility.sqlite") -> VisibilityTable:
        opened.append(VisibilityTable.open(tmp_path / name, CODEC, epoch))
        return opened[-1]

    yield open_
    for table in opened:
        table.close()


@pytest.fixture
def table(open_table: Open) -> VisibilityTable:
    return open_table()


@pytest.fixture
def log() -> CorpusLog:
    return CorpusLog()
