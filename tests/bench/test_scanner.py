"""The scanner is measured on halves that share nothing."""

import random
from pathlib import Path

import msgspec
import pytest

from bench.scanner import Measured, Share, attacks, clean, half, injected, passages


def test_the_halves_share_nothing_and_leave_nothing_out() -> None:
    assert sorted(half(25, "seen") + half(25, "unseen")) == list(range(25))


def test_categories_are_divided_whole(tmp_path: Path) -> None:
    (tmp_path / "bipia").mkdir()
    for name in ("text_attack_train.json", "code_attack_train.json"):
        categories = {f"{name}{number}": [f"order {number}"] for number in range(5)}
        (tmp_path / "bipia" / name).write_bytes(msgspec.json.encode(categories))
    seen, unseen = attacks(tmp_path, "seen"), attacks(tmp_path, "unseen")
    assert not seen.keys() & unseen.keys()
    assert len(seen) + len(unseen) == 10


def test_an_attack_stands_in_its_carrier_unchanged() -> None:
    rng = random.Random(1)
    carrier = "One sentence. Another one! A third."
    for _ in range(20):
        text = injected(rng, carrier, "ATTACK")
        assert text.count("ATTACK") == 1
        assert text.replace("ATTACK", "").replace("\n", " ").split() == carrier.split()


def test_short_paragraphs_are_joined_to_passages() -> None:
    text = "\n\n".join(f"paragraph {number} " + "word " * 40 for number in range(9))
    found = passages(text)
    assert "\n\n".join(found) == text
    assert all(len(passage) <= 1_200 for passage in found)


def test_only_passages_with_an_aim_count_as_alarms() -> None:
    shares = (Share("xquad", 1, 50), Share("emails", 0, 50), Share("manuals", 50, 50))
    measured = Measured("seen", (Share("a", 1, 2), Share("b", 2, 2)), shares, {})
    assert measured.clean_alarms == pytest.approx(0.01)
    assert measured.all_recall == pytest.approx(0.75)


@pytest.mark.shared_data
def test_real_corpora_are_read() -> None:
    data = Path(__file__).parents[3] / "shared" / "data"
    if not (data / "bipia").is_dir():
        pytest.skip(f"{data}/bipia is absent")
    texts = clean(data, "seen", manuals=False)
    assert {name: len(found) for name, found in texts.items()}["emails"] == 25
