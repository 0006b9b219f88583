"""Laws about addresses: whatever is written ends in an error of ours, and no error shows a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import InputRejected
from millrace.ingest.addresses import shown
from millrace.ingest.opening import Plan, open_sources


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://",
        "http://h:99999/",
        "http://ex\u2100mple.com/",
        "https://ada:secret@example.com/",
        "https://ada:se/cret@example.com/",
        "https://ada:se#cret@example.com/",
        "s3://ada:secret@[bucket",
        "az://ada:secret@/",
        "nothing://ada:secret@host/shop",
        "postgresql://ada:se/cret@host/shop",
        "postgresql://ada:secret@[host/shop",
        "postgresql+nodriver://ada:secret@host/shop",
        "mysql://ada:secret@host:port/shop",
    ],
)
async def test_an_address_that_means_nothing_is_refused_without_its_password(url: str) -> None:
    table = "" if url.startswith(("http", "s3", "az")) else "t"
    with pytest.raises(InputRejected) as caught:
        async with open_sources(Plan(paths=(url,), table=table)):
            pass
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://ada:secret@example.com/@ada?x=@", "https://***@example.com/@ada?x=@"),
        ("https://ada:p@ss@example.com", "https://***@example.com"),
        ("//ada@example.com/", "//***@example.com/"),
        ("https://example.com/@ada", "https://example.com/@ada"),
        ("mailto:ada@example.com", "mailto:ada@example.com"),
    ],
)
def test_an_address_is_shown_without_who_asks(url: str, found: str) -> None:
    assert shown(url) == found


async def test_notes_about_a_bucket_are_not_named_by_its_credentials(tmp_path: Path) -> None:
    async with open_sources(Plan(paths=("s3://ada:secret@bucket/kb",), memory=tmp_path)) as (source,):
        assert source.name == "bucket"
        await source.commit()
    (file,) = names(tmp_path)
    assert "secret" not in file


@pytest.mark.parametrize("url", ["sqlite:///{}/shop.db", "sqlite:///file:{}/shop.db?uri=true", "sqlite:///{}"])
async def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputRejected, match="there is no database"):
        async with open_sources(Plan(paths=(url.format(tmp_path),), table="notes")):
            pass
    assert names(tmp_path) == []
