"""Laws about bodies: read no further than they may be, and not at all where that is announced."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.types import Message

from gateway.http.bodies import read_body
from gateway.problems import Problem

MOST = 10


class Endless:
    """A body that does not end."""

    def __init__(self) -> None:
        self.n_read = 0

    async def __call__(self) -> Message:
        self.n_read += 1
        return {"type": "http.request", "body": b"1234", "more_body": True}


@pytest.mark.parametrize(
    ("announced", "n_read"),
    [(b"11", 0), (b"10", 3), (b"", 3), (b"-1", 3), (b"1e9", 3)],
    ids=["too large", "too little", "nothing", "negative", "no number"],
)
async def test_of_a_body_that_is_too_large_no_more_is_read_than_may_be(announced: bytes, n_read: int) -> None:
    body = Endless()
    headers = [(b"content-length", announced)] if announced else []
    with pytest.raises(Problem) as caught:
        await read_body(Request({"type": "http", "method": "POST", "headers": headers}, body), MOST)
    assert (caught.value.status_code, body.n_read) == (413, n_read)
