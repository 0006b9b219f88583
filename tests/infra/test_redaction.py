"""What is secret is masked in every form in which it may be written; what is not stays."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from infra.redaction import MASK, Redaction, secrets_of
from infra.settings import Settings

SECRET = "s3cr/t+Passw0rd==xyz"  # noqa: S105 - seeded


def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        profile="kafka",
        kafka={"sasl_password": SecretStr("kafka-key-4711")},
        triton={"key": SecretStr("triton-key-4712")},
        capture={"database_url": SecretStr("postgresql://millrace:data%2Fbase-4713@db/x")},
        telemetry={"headers": SecretStr("x-key=collector-4714, x-other=abc-4715")},
    )


def test_every_secret_setting_is_known_and_the_parts_that_are_met_alone(tmp_path: Path) -> None:
    found = set(secrets_of(settings(tmp_path)))
    assert found >= {"kafka-key-4711", "triton-key-4712", "data/base-4713", "data%2Fbase-4713"}
    assert found >= {"collector-4714", "abc-4715"}


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        f"https://user:{quote(SECRET, safe='')}@host/x",
        base64.b64encode(f"u:{SECRET}".encode()).decode(),
        base64.b64encode(f"us:{SECRET}".encode()).decode(),
        base64.b64encode(f"usr:{SECRET}".encode()).decode(),
    ],
)
def test_a_known_secret_is_masked_in_every_form(written: str) -> None:
    masked = Redaction([SECRET])(f"before {written} after")
    assert MASK in masked
    assert SECRET[:8] not in masked
    assert quote(SECRET, safe="")[:8] not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:hunter22@db/x", f"postgresql://ann:{MASK}@db/x"),
        ("redis://:hunter22@cache:6379", f"redis://:{MASK}@cache:6379"),
        ("Authorization: Bearer eyJhbGciOi.J9.x", f"Authorization: Bearer {MASK}"),
        ("{'x-api-key': 'hunter22'}", f"{{'x-api-key': '{MASK}'}}"),
        ('{"password":"hunter22"}', f'{{"password":"{MASK}"}}'),
        ("cookie: session=abcdef", f"cookie: {MASK}"),
        ("sasl.password=hunter22,x", f"sasl.password={MASK},x"),
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_knows_it(text: str, masked: str) -> None:
    assert Redaction()(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "12 tokens: 3 of 4", "http://127.0.0.1:4318/v1/traces", "offset 12 of corpus.source.changed.v1[3]",
        "prompt has 9120 tokens but model 'chat-small' accepts 8192", "ask again with a longer timeout",
    ],
)  # fmt: skip
def test_what_is_none_stays(text: str) -> None:
    assert Redaction([SECRET])(text) == text


def test_a_secret_learnt_later_is_masked_from_then_on_and_one_of_three_letters_never() -> None:
    redaction = Redaction(["abc"])
    assert redaction("abc late-4711") == "abc late-4711"
    redaction.add("late-4711", "")
    assert redaction("abc late-4711") == f"abc {MASK}"


def test_the_data_of_persons_is_masked_by_whoever_finds_it() -> None:
    redaction = Redaction([SECRET], lambda text: text.replace("ann@example.org", "[EMAIL]"))
    assert redaction(f"{SECRET} of ann@example.org") == f"{MASK} of [EMAIL]"
