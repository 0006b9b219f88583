"""The pages about servers name the rules, settings and options that the code has."""

import re

import pytest

from infra.launch.rights import DEPLOYABLES, all_rights
from infra.rights import Rights
from infra.servers.triton import server as triton_server
from infra.settings import Settings, load
from tests.docs.pages import ROOT

HOW_TO = ROOT / "docs" / "how-to"
RIGHTS = all_rights(load({"profile": "kafka", "kafka": {"secured": True}}).settings)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (HOW_TO / "run-on-your-kafka.md").read_text().splitlines()
    if line.startswith("| `")
]
SERVER_PAGES = (
    "capture-changes",
    "run-on-your-kafka",
    "run-the-native-profile",
    "use-a-schema-registry",
    "use-triton",
    "use-weaviate",
)


def _quoted(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def _plain(topics: frozenset[str]) -> set[str]:
    """Topics as the page names them, without those of dead letters."""
    return {name.removesuffix(".v1") for name in topics if not name.endswith(".dlq")}


@pytest.mark.parametrize("principal", ["app", *DEPLOYABLES])
def test_the_table_of_rules_says_what_each_principal_may(principal: str) -> None:
    [(who, reads, writes, groups)] = [row for row in ROWS if row[0].startswith(f"`{principal}`")]
    found: Rights = RIGHTS[principal]
    assert _quoted(who) == {principal, *DEPLOYABLES.get(principal, ())}
    assert _quoted(reads) == _plain(found.reads)
    assert _quoted(writes) == _plain(found.writes)
    assert _quoted(groups) == set(found.groups)


def test_the_worker_of_everything_may_what_the_others_may() -> None:
    parts = [RIGHTS[name] for name in DEPLOYABLES]
    assert RIGHTS["worker"].reads >= frozenset.union(*(part.reads for part in parts))
    assert RIGHTS["worker"].writes >= frozenset.union(*(part.writes for part in parts))


def test_the_protocols_that_a_key_guards_are_those_of_the_launcher() -> None:
    assert f"{','.join(triton_server._PROTOCOLS)}:millrace-key=" in (HOW_TO / "use-triton.md").read_text()


@pytest.mark.parametrize("page", SERVER_PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    """In text as `kafka.nodes`, in commands as MILLRACE_KAFKA__NODES."""
    known = {
        f"{group}.{name}"
        for group, field in Settings.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {})
    }
    groups = {name.partition(".")[0] for name in known}
    text = (HOW_TO / f"{page}.md").read_text()
    named = {each for each in re.findall(r"`([a-z]+\.[a-z_]+)`", text) if each.partition(".")[0] in groups}
    named |= {each.lower().replace("__", ".") for each in re.findall(r"MILLRACE_([A-Z]+__[A-Z_]+)", text)}
    assert named - known - PLACES == set()


PLACES = {"capture.toml", "millrace.toml"}
"""Names of files that look like settings."""
