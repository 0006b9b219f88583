"""Laws about the corpus as it was: what compaction took is not made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.codec import Codec
from millrace.errors import LogTruncated
from millrace.reader import RawRecord
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from streams.recorded.corpus import Gaps, RecordedCorpus
from streams.visibility.table import VisibilityTable

YOUNG_MS = 1_000


def record(offset: int, timestamp_ms: int, topic: str = DOCUMENT_INDEXED.name, partition: int = 0) -> RawRecord:
    return RawRecord(topic, partition, offset, timestamp_ms, None, None, [])


def test_a_log_without_gaps_tells_everything() -> None:
    gaps = Gaps(YOUNG_MS)
    for offset in range(4):
        gaps.note(record(offset, 0))
    assert gaps.incomplete_below() == {}


def test_what_is_missing_may_have_counted_until_the_last_record_that_is_old_enough_to_have_replaced_it() -> None:
    gaps = Gaps(YOUNG_MS)
    for offset, timestamp_ms in ((1, 0), (2, 10), (4, 20), (5, YOUNG_MS), (6, YOUNG_MS + 5)):
        gaps.note(record(offset, timestamp_ms))
    gaps.note(record(0, 0, ACL_CHANGED.name))  # another partition, of which all is there
    assert gaps.incomplete_below() == {(DOCUMENT_INDEXED.name, 0): 5}


def test_a_watermark_that_lies_among_what_was_compacted_is_refused(tmp_path: Path) -> None:
    table = VisibilityTable.open(tmp_path / "visibility.db", Codec(), "epoch")
    table.fold([], {(DOCUMENT_INDEXED.name, 0): 9, (ACL_CHANGED.name, 0): 3})
    corpus = RecordedCorpus(table, {(DOCUMENT_INDEXED.name, 0): 5})
    tag = table.watermark().partition("/")[0]
    asker = Asker()
    assert corpus.visible("t", asker, at=f"{tag}/i:0=5;a:0=1").n_documents == 0
    assert corpus.visible("t", asker).n_documents == 0
    with pytest.raises(LogTruncated, match="was compacted"):
        corpus.visible("t", asker, at=f"{tag}/i:0=4;a:0=1")
    table.close()


class Asker:
    """Somebody."""

    groups = frozenset({"*"})
