"""Laws about what a replay may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.replaying import Overrides
from millrace.errors import ConfigurationError


def test_policies_and_models_are_changed_for_the_replay_and_listed_with_what_they_were(tmp_path: Path) -> None:
    found = Overrides.read(tmp_path, ["query.dense_weight=0.5", "guard.answers=false", "models.embedder=hashing"])
    assert (found.query.dense_weight, found.guard.answers, found.settings.models.embedder) == (0.5, False, "hashing")
    assert found.changed == {
        "query.dense_weight": ("0.6", "0.5"),
        "guard.answers": ("true", "false"),
        "models.embedder": ('"minilm"', '"hashing"'),
    }


def test_nothing_changed_is_what_the_stack_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_QUERY", '{"dense_weight": 0.3}')
    assert (found := Overrides.read(tmp_path, [])).query.dense_weight == 0.3
    assert found.changed == {}
    both = Overrides.read(tmp_path, ["query.candidates=7"])
    assert (both.query.dense_weight, both.query.candidates) == (0.3, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("query.dense_wight=1", "query.dense_wight does not exist"),
        ("query.dense_weight=much", "query"),
        ("worker.count=3", "worker.count has no part in answering"),
        ("dense_weight=1", "not of the form GROUP.NAME=VALUE"),
        ("query.dense_weight", "not of the form GROUP.NAME=VALUE"),
        ("models.embeder=hashing", "models.embeder"),
        ("models.embedder=elmo", "models.embedder"),
    ],
)
def test_what_cannot_be_changed_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Overrides.read(tmp_path, [text])
