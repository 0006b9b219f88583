"""A mapping file is read as it is meant, or refused with what to write instead."""

from pathlib import Path
from typing import Any

import pytest

from millrace.errors import ConfigurationError
from streams.sources.cdc import CaptureMapping, TableMapping, read_mapping

WHOLE = """
name = "shop"
epoch = 2
tenant = "acme"
groups = ["staff"]

[tables."public.notes"]
key = ["org", "id"]
id = "notes/{org}/{id}"
content = ["body", "remarks"]
title = "title"
deleted = "archived"
labels = { kind = "note" }
label_columns = { state = "state" }
groups_column = "readers"
tenant_column = "org"
trust = "untrusted"

[tables."crm.pages"]
content = "text"
groups = ["*"]
"""


def _read(tmp_path: Path, text: str) -> CaptureMapping:
    path = tmp_path / "capture.toml"
    path.write_text(text)
    return read_mapping(path)


def test_every_word_is_understood(tmp_path: Path) -> None:
    found = _read(tmp_path, WHOLE)
    assert (found.name, found.epoch, found.tenant, found.groups) == ("shop", 2, "acme", ("staff",))
    notes, pages = found.tables["public.notes"], found.tables["crm.pages"]
    assert notes == TableMapping(
        key=("org", "id"), id="notes/{org}/{id}", content=("body", "remarks"), title="title", deleted="archived",
        labels={"kind": "note"}, label_columns={"state": "state"}, groups_column="readers", tenant_column="org",
        trust="untrusted",
    )  # fmt: skip
    assert (pages.texts, pages.groups) == (("text",), ("*",))
    assert found.topic("public.notes") == "shop.public.notes"


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        ({}, {"id": 17}, "notes/17"),
        ({}, {"org": "a/b", "id": 5}, "notes/a%2Fb/5"),
        ({"key": ("id", "org")}, {"org": "x", "id": 5}, "notes/5/x"),
        ({"key": ("id",), "id": "n/{id}.md"}, {"id": "50%"}, "n/50%25.md"),
    ],
)
def test_an_id_is_the_table_and_the_key_unless_a_template_says_otherwise(
    table: dict[str, Any], key: dict[str, Any], expected: str
) -> None:
    assert TableMapping(**table).document_id("notes", key) == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({'name = "shop"': 'name = "My Shop"'}, "name 'My Shop' must be"),
        ({"epoch = 2": "epoch = 64"}, "epoch 64 must be 0 to 63"),
        ({'tenant = "acme"': 'tenant = ""'}, "tenant is empty"),
        ({'"public.notes"': '"notes"'}, "write schema and table, as in 'public.notes'"),
        ({'title = "title"': 'titel = "title"'}, r"unknown field `titel`.*known: content, deleted, .*title, trust"),
        ({"epoch = 2": "epok = 2"}, r"unknown field `epok`.*known: epoch, format, groups"),
        ({'trust = "untrusted"': 'trust = "some"'}, "Invalid enum value 'some'"),
        ({'key = ["org", "id"]': 'key = ["id"]'}, r"tenant_column 'org' must be one of key \(id\)"),
        ({'"notes/{org}/{id}"': '"notes/{id}"'}, r"must name each column of key \(org, id\) once"),
        ({'"notes/{org}/{id}"': '"notes/{org}-{id}"'}, "needs a '/' between two columns"),
        ({'"notes/{org}/{id}"': '"{org}/{id}"'}, "must begin with a text of its own"),
        ({'"notes/{org}/{id}"': '"notes/{org/{id}"'}, "is no template"),
        ({'"notes/{org}/{id}"': '"notes/{org:>9}/{id}"'}, "has a format or conversion"),
        ({'"notes/{org}/{id}"': '"pages/n/{org}/{id}"'}, "may give two rows the same id"),
        (
            {'groups_column = "readers"': 'groups_column = "readers"\ngroups = ["a"]'},
            "groups and groups_column",
        ),
        ({'tenant_column = "org"': 'tenant_column = "org"\ntenant = "x"'}, "tenant and tenant_column exclude"),
        ({'{ state = "state" }': '{ kind = "state" }'}, "label 'kind' stands in labels and in label_columns"),
        ({'groups = ["*"]': 'groups = [""]'}, "a group needs a name"),
        ({WHOLE: 'name = "shop"\n[tables]'}, "no table is named"),
        ({WHOLE: "name ="}, "Invalid value"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    text = WHOLE
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ConfigurationError, match=message):
        _read(tmp_path, text)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.toml does not exist.*capture\.mapping"):
        read_mapping(tmp_path / "nowhere.toml")
