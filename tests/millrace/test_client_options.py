"""Laws about what callers may ask for."""

from __future__ import annotations

import pytest

from millrace.client import Millrace
from millrace.client.options import change_of
from millrace.connection import Connection
from millrace.errors import InputRejected

WITHHELD = ["hr", "withdrawn:hr"]


async def test_no_right_is_given_under_the_name_of_a_withheld_one() -> None:
    """Such a document would count as withdrawn, without a review item to release it by."""
    client = Millrace(Connection(bootstrap="127.0.0.1:1"), tenant="acme")
    for attempt in (client.set_acl, client.grant):
        with pytest.raises(InputRejected, match="name the group itself, 'hr'"):
            await attempt("a.md", WITHHELD)
    with pytest.raises(InputRejected, match="name the group itself, 'hr'"):
        change_of("a.md", "text", "acme", {"groups": WITHHELD})
    assert change_of("a.md", "text", "acme", {"groups": ["hr", "withdrawn"]}).groups == ("hr", "withdrawn")
