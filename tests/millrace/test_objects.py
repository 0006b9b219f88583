"""Laws about the object folder that an app and the workers share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.errors import InputRejected, ObjectMissing, ObjectTampered, TooLarge, Unavailable
from millrace.objects import ObjectFolder, reference
from streams.stores.objects import ContentStore


@pytest.mark.parametrize("flush", [True, False])
def test_an_app_and_the_workers_read_each_others_objects(tmp_path: Path, flush: bool) -> None:
    ours, theirs = ObjectFolder(tmp_path, flush=flush), ContentStore(tmp_path)
    assert theirs.get_sync(ours.put_sync(b"from the app")) == b"from the app"
    assert ours.get_sync(theirs.put_sync(b"from a worker")) == b"from a worker"
    assert ours.put_sync(b"same") == theirs.put_sync(b"same") == reference(b"same")


def test_damaged_content_is_refused_and_written_again(tmp_path: Path) -> None:
    folder = ObjectFolder(tmp_path)
    ref = folder.put_sync(b"content")
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    path.write_bytes(b"damaged")
    with pytest.raises(ObjectTampered):
        folder.get_sync(ref)
    folder.put_sync(b"content")
    assert folder.get_sync(ref) == b"content"


def test_writers_at_the_same_time_leave_one_whole_object(tmp_path: Path) -> None:
    folder = ObjectFolder(tmp_path, flush=False)
    data = b"x" * 500_000
    with ThreadPoolExecutor(8) as threads:
        refs = set(threads.map(lambda _: folder.put_sync(data), range(16)))
    assert refs == {reference(data)}
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [len(data)]


def test_what_is_missing_too_large_or_no_reference_is_refused(tmp_path: Path) -> None:
    folder = ObjectFolder(tmp_path)
    with pytest.raises(ObjectMissing):
        folder.get_sync(reference(b"never written"))
    with pytest.raises(TooLarge):
        folder.get_sync(folder.put_sync(b"12345"), max_bytes=4)
    with pytest.raises(InputRejected):
        folder.get_sync("sha256:../../etc/passwd")


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file is in the way")
    with pytest.raises(Unavailable, match="cannot take"):
        ObjectFolder(tmp_path).put_sync(b"content")
