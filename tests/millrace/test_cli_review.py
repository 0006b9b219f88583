"""Laws about review items at the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.reader import read
from millrace.topics import REVIEW_DECISION_MADE
from tests.millrace.workers import Run


@pytest.fixture
def item(run: Run, tenant: str) -> str:
    """A document that is held back, on the log; its item's id."""
    event = {
        "tenant": tenant, "item": f"item-{tenant}", "subject_kind": "document", "subject": "mail\u009b[2J.md",
        "version": 1, "stage": "clear_untrusted", "rule": "override", "kind": "injection", "action": "hold",
        "reason": "injection in version 1 of the document at 1 places, by override; hold", "content": "sha256:1",
        "manifest": "sha256:2", "spans": [{"start": 3, "end": 9}],
    }  # fmt: skip
    code, _, err = run("produce", "review.item.opened.v1", "--data", json.dumps(event))
    assert (code, err) == (0, ""), err
    return f"item-{tenant}"


def told(run: Run, *arguments: str) -> Any:
    code, out, _ = run("review", *arguments, "--json")
    assert code == 0, out
    return json.loads(out)


def test_an_item_is_listed_shown_and_decided_and_the_same_decision_is_one(run: Run, tenant: str, item: str) -> None:
    whose = ("--tenant", tenant)
    [listed] = told(run, "list", *whose)["items"]
    assert (listed["item"], listed["fitting"]) == (item, ["release", "confirm", "dismiss"])
    _, out, _ = run("review", "show", item, *whose)
    assert "at 3 to 9" in out
    assert "\x9b" not in out
    for n in range(2):
        found = told(run, "decide", item[:-4], "release", "fine", "--as", "kim", *whose)
        assert [(each["decision"], each["user"]) for each in found["decisions"]] == [("release", "kim")], n
    assert told(run, "list", *whose)["items"] == []
    assert [each["item"] for each in told(run, "list", "--state", "decided", *whose)["items"]] == [item]
    _, out, _ = run("review", "list", "--state", "all", *whose)
    assert "release by kim" in out


def test_the_decision_on_the_log_names_what_the_item_is_about(run: Run, tenant: str, item: str, embedded: Any) -> None:
    told(run, "decide", item, "release", "--as", "kim", "--tenant", tenant)
    [made] = [each for each in read(embedded, [REVIEW_DECISION_MADE]) if each.tenant == tenant]
    assert (made.content, made.manifest, made.version, made.user) == (  # type: ignore[attr-defined]
        "sha256:1", "sha256:2", 1, "kim",
    )  # fmt: skip


def test_what_does_not_fit_or_does_not_exist_says_what_would(run: Run, tenant: str, item: str) -> None:
    whose = ("--tenant", tenant)
    code, _, err = run("review", "decide", item, "withdraw", *whose)
    assert (code, "choose of release, confirm, dismiss" in err) == (1, True)
    code, _, err = run("review", "decide", item, "burn", *whose)
    assert (code, "choose of release, withdraw" in err) == (2, True)
    for name in ("nothing", item):
        code, _, err = run("review", "show", name, "--tenant", "another")
        assert (code, "review list --state all" in err) == (1, True)
    assert "nothing to decide" in run("review", "list", "--tenant", "another")[1]
