"""Keep secrets, and the data of persons, out of what is written and sent: logs, spans, reports, messages of errors.

What is known to be secret (settings of that kind, credentials that the launcher drew) is masked wherever it stands,
also percent-encoded and in base64; what looks like a secret (a password within an address, a header that logs in) is
masked by its form.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, SecretStr

from inference.personal_data import PersonalDataFinder

MASK: Final = "[secret]"
_MIN_CHARS: Final = 4  # a shorter one would mask half of every word
_FORMS: Final = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b((?:bearer|basic)\s+)[\w.~+/-]{4,}=*", re.IGNORECASE), rf"\1{MASK}"),
    (
        re.compile(
            r"""(\b(?:proxy-)?(?:authorization|cookie|set-cookie|x-api-key|api[_-]?key|password|passwd|secret|token)\b
            ["']?\s*[:=]\s*["']?)(?!\[secret\]|(?:bearer|basic)\s)[^\s"',;&}\])]{4,}""",
            re.IGNORECASE | re.VERBOSE,
        ),
        rf"\1{MASK}",
    ),
)


class Redaction:
    """Masks secrets in texts; call it with a text.

    Parameters
    ----------
    secrets : iterable of str
        What is known to be secret.
    personal : callable, optional
        Masks the data of persons in a text.
    """

    def __init__(self, secrets: Iterable[str] = (), personal: Callable[[str], str] | None = None) -> None:
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self._personal = personal
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Learn further secrets, found after the start."""
        self._secrets |= {written for each in secrets for written in _written(each)}
        ordered = sorted(self._secrets, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        """Give the text with everything masked."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for form, masked in _FORMS:
            text = form.sub(masked, text)
        return text if self._personal is None else self._personal(text)


def secrets_of(settings: BaseModel) -> Iterator[str]:
    """Values of all secret settings; of an address its password, of headers their values."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from secrets_of(value)
        elif isinstance(value, SecretStr):
            yield from _parts(value.get_secret_value())


def personal_data() -> Callable[[str], str]:
    """Masks the data of persons by their form."""
    finder = PersonalDataFinder(without=("IP_ADDRESS",))  # brokers and clients have them too

    def mask(text: str) -> str:
        for place in reversed(finder.find(text)):
            text = f"{text[: place.start]}[{place.rule}]{text[place.end :]}"
        return text

    return mask


def _parts(secret: str) -> Iterator[str]:
    if not secret:
        return
    yield secret
    if "://" in secret:
        try:
            password = urlsplit(secret).password
        except ValueError:
            return
        if password:
            yield password
            yield unquote(password)
    elif "=" in secret:
        yield from (value.strip() for _, _, value in (each.partition("=") for each in secret.split(",")) if value)


def _written(secret: str) -> Iterator[str]:
    """A secret in the forms in which it may be met."""
    if len(secret) < _MIN_CHARS:
        return
    yield secret
    yield quote(secret, safe="")
    yield secret.encode("unicode_escape").decode().replace('"', '\\"')
    for before, skipped in enumerate((0, 2, 3)):  # base64 of something that ends with it, such as `user:password`
        encoded = base64.b64encode(b"\x00" * before + secret.encode()).decode().rstrip("=")
        if len(found := encoded[skipped:-1]) >= 8:
            yield found
