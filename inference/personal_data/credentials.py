"""What opens doors: keys and tokens by the forms that their issuers gave them, and passwords that are called so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from inference.personal_data.patterns import compiled
from millrace.findings import Finding

MAX_KEY_CHARS: Final = 4096
_TOKENS: Final[tuple[tuple[str, str], ...]] = (
    ("AWS_ACCESS_KEY", r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("GITHUB_TOKEN", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    ("GITLAB_TOKEN", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,64}"),
    ("SLACK_TOKEN", r"\bxox[abeoprs]-(?:[0-9]-)?[A-Za-z0-9-]{10,250}|\bxapp-[0-9]-[A-Za-z0-9-]{10,250}"),
    ("SLACK_WEBHOOK", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{20,90}"),
    ("STRIPE_KEY", r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,250}|\bwhsec_[A-Za-z0-9]{24,64}"),
    ("GOOGLE_API_KEY", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("GOOGLE_OAUTH", r"\bya29\.[A-Za-z0-9_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]{28}"),
    ("MODEL_API_KEY", r"\bsk-(?:ant-|proj-|svcacct-|or-v1-|admin-)?[A-Za-z0-9_-]{20,250}"),
    (
        "HUB_TOKEN",
        r"\bhf_[A-Za-z0-9]{30,60}|\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,250}|dckr_pat_[A-Za-z0-9_-]{20,60})",
    ),
    (
        "MAIL_KEY",
        r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}|\bkey-[0-9a-f]{32}\b|\b[0-9a-f]{32}-us[0-9]{1,2}\b",
    ),
    ("TWILIO_KEY", r"\b(?:SK|AC)[0-9a-f]{32}\b"),
    ("TELEGRAM_TOKEN", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{32,34}"),
    ("DISCORD_TOKEN", r"\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}"),
    ("AZURE_KEY", r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,90}={0,2}"),
    ("SHOPIFY_TOKEN", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("VAULT_TOKEN", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,250}|\bdop_v1_[0-9a-f]{64}|\bAGE-SECRET-KEY-1[0-9A-Z]{58}"),
    ("JWT", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"),
)
_KEY_BEGINS: Final = compiled(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS: Final = compiled(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_WHOLE: Final[tuple[tuple[str, Any], ...]] = tuple((rule, compiled(pattern)) for rule, pattern in _TOKENS)
_TRIGGER: Final = compiled("|".join(f"(?:{pattern})" for _, pattern in _TOKENS))
_URL_PASSWORD: Final = compiled(r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/?#@:]{0,64}:([^\s/?#@]{1,128})@[A-Za-z0-9\[]")
_CALLED: Final = compiled(
    r"\b(?:[a-z0-9_.-]{0,32}(?:passw(?:or)?d|passphrase|passwd|pwd|secret(?:[_-]?(?:access))?(?:[_-]?key)?|api[_-]?key|access[_-]?key"
    r"|auth[_-]?token|access[_-]?token|refresh[_-]?token|client[_-]?secret|private[_-]?key|token))[\"']?"
    r"(?:\s{0,3}(?::=|=>|=|:)\s{0,3}|\s(?:is|was|lautet|est|es)[ :]{1,3})([\"'`]?)([^\s\"'`<>,;]{6,256})",
    any_case=True,
)
_BEARER: Final = compiled(r"\b(?:bearer|basic|token)\s+([A-Za-z0-9._~+/-]{16,}={0,2})", any_case=True)
_WORDS: Final = compiled(r"passw|passphrase|pwd|secret|key|token|bearer|basic", any_case=True)
_EXPRESSION: Final = compiled(r"^[A-Za-z_][A-Za-z0-9_.]*[(\[]|^[$%][({A-Za-z]|\]\(")
_PLACEHOLDER: Final = compiled(
    r"^(?:pass|passwd|password|pwd|secret|token|user|[*•x.#_-]+|\$\{.*|\{\{.*|<.*|%.*%|\[.*|your.*|example.*|change.?me.*|null|none|true"
    r"|false|undefined)$",
    any_case=True,
)


def credentials(text: str) -> Iterator[Finding]:
    """Secrets, each with the rule that knows its form."""
    if _TRIGGER.search(text) is not None:
        for rule, pattern in _WHOLE:
            yield from (Finding("secret", rule, *found.span()) for found in pattern.finditer(text))
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "://" in text:
        for found in _URL_PASSWORD.finditer(text):
            if _PLACEHOLDER.search(found.group(1)) is None:
                yield Finding("secret", "URL_PASSWORD", *found.span(1))
    if _WORDS.search(text) is not None:
        yield from _called(text)


def _private_keys(text: str) -> Iterator[Finding]:
    """Keys between their lines; one that does not end goes on to the end of the text."""
    for found in _KEY_BEGINS.finditer(text):
        last = _KEY_ENDS.search(text, found.end())
        end = len(text) if last is None else last.end()
        yield Finding("secret", "PRIVATE_KEY", found.start(), min(end, found.start() + MAX_KEY_CHARS))


def _called(text: str) -> Iterator[Finding]:
    for found in _CALLED.finditer(text):
        value = found.group(2).rstrip(".)]}")
        assigned = (
            not text[found.start() : found.start(2)].rstrip(" \"'`").endswith((" is", " was", "lautet", "est", "es"))
        )
        if _is_secret(value, sure=assigned):
            yield Finding("secret", "PASSWORD", found.start(2), found.start(2) + len(value), 0.9)
    for found in _BEARER.finditer(text):
        if _is_random(found.group(1)):
            yield Finding("secret", "BEARER_TOKEN", found.start(1), found.end(1), 0.9)


def _is_secret(value: str, *, sure: bool) -> bool:
    if len(value) < 6 or _PLACEHOLDER.search(value) is not None or _EXPRESSION.search(value) is not None:
        return False
    if value.isalpha() and (value.islower() or value.istitle() or not sure):
        return False  # a word of the sentence
    return any(character.isdigit() or (not character.isalnum() and character not in "_-./") for character in value)


def _is_random(value: str) -> bool:
    """Whether a value has the look of chance: mixed characters, at more than three bits each."""
    counts = Counter(value)
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return bits > 3.0 and any(character.isdigit() for character in value) and any(map(str.isalpha, value))
