"""Laws about persons of a demo: known by a header, under a name of this machine, and in no other way."""

from __future__ import annotations

import pytest
from fastapi import Request

from gateway.people import People, Person

PEOPLE = People([Person(name="Ann", tenant="acme", groups=("hr",))])


def request(host: str = "127.0.0.1:8080", **headers: str) -> Request:
    found = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": host, **headers}.items()]
    return Request({"type": "http", "method": "GET", "path": "/v1/documents", "query_string": b"", "headers": found})


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080"])
def test_a_person_is_who_the_header_names(host: str) -> None:
    found = PEOPLE.of(request(host, x_demo_person="Ann"))
    assert found is not None
    assert (found.tenant, found.user, found.groups) == ("acme", "Ann", ("*", "hr"))
    assert PEOPLE.of(request(host, x_demo_person="Eve")) is None


def test_a_cookie_which_a_browser_sends_for_anyone_names_nobody() -> None:
    assert PEOPLE.of(request(cookie="millrace_person=Ann; x-demo-person=Ann")) is None


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.7:8080"])
def test_a_foreign_name_that_leads_here_names_nobody(host: str) -> None:
    assert PEOPLE.of(request(host, x_demo_person="Ann")) is None
