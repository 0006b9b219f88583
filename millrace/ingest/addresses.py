"""Addresses as people and strangers write them: taken apart with an error of ours, and shown without a password."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from millrace.errors import InputRejected

_USER: Final = re.compile(r"(?<=//)[^/?#]*@")
_ANYTHING: Final = re.compile(r"(?<=//).*@", re.DOTALL)
_HIDDEN: Final = "***@"


def shown(url: str) -> str:
    """An address, or a text that names one, as it may be printed and kept: without a user and a password."""
    return _USER.sub(_HIDDEN, url)


def split(url: str) -> SplitResult:
    """Parts of an address.

    Raises
    ------
    InputRejected
        It is none. The message says nothing that stands before an ``@``, for a password may be what makes it none.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only when it is asked for
    except ValueError as error:
        found = _ANYTHING.sub(_HIDDEN, url)
        raise InputRejected(
            f"{found!r} is no address; write it as scheme://host:port/path, with special characters as %XX"
        ) from error
    return parts
