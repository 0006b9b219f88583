"""Kafka Connect's worker keeps its connectors, and its REST API says what is wrong with one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from infra.capture import connector_config, start_capture
from infra.launch.ports import HOST, free_ports
from infra.servers.connect import ConnectRest
from millrace.errors import ConfigurationError, InputRejected, Unavailable
from streams.sources.cdc import CaptureMapping, TableMapping
from tests.capture_chain import Chain
from tests.conditions import wait_until

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def mapping(capture_chain: Chain) -> Iterator[CaptureMapping]:
    name = f"rest_{secrets.token_hex(4)}"
    with capture_chain.database() as database:
        database.execute(f"CREATE SCHEMA {name}")
        database.execute(f"CREATE TABLE {name}.notes (id int PRIMARY KEY, body text)")
    yield CaptureMapping(name=name, tables={f"{name}.notes": TableMapping(content="body")})
    capture_chain.connect.rest.delete(f"millrace_{name}_0")


def test_a_connector_rests_goes_on_and_survives_a_kill_until_it_is_deleted(
    capture_chain: Chain, mapping: CaptureMapping
) -> None:
    name, rest = f"millrace_{mapping.name}_0", capture_chain.connect.rest
    capture_chain.capture(mapping)
    rest.pause(name)
    wait_until(lambda: (state := rest.state(name)) is not None and state.tasks == ("PAUSED",))
    rest.resume(name)
    rest.wait_running(name)
    capture_chain.connect.kill()
    capture_chain.connect.start()
    wait_until(lambda: name in rest.connectors())  # it answers before it has read its topic to the end
    rest.wait_running(name)
    assert rest.offsets(name)
    rest.delete(name)
    rest.delete(name)
    wait_until(lambda: rest.state(name) is None)
    assert name not in rest.connectors()


def test_a_database_that_does_not_let_us_in_is_named(capture_chain: Chain, mapping: CaptureMapping) -> None:
    rest = capture_chain.connect.rest
    wrong = capture_chain.postgres.url.replace("millrace:", "nobody:")
    with pytest.raises(ConfigurationError, match=r"(?s)nobody.*check capture\.database_url"):
        start_capture(rest, mapping, wrong)
    with pytest.raises(ConfigurationError, match=r"(?s)refuses PUT .*nobody"):
        rest.put(f"millrace_{mapping.name}_0", connector_config(mapping, wrong))
    with pytest.raises(ConfigurationError, match=r"capture\.database_url cannot be read"):
        connector_config(mapping, "mysql//x")


def test_a_connector_that_fails_says_why(capture_chain: Chain, mapping: CaptureMapping) -> None:
    name, rest = f"millrace_{mapping.name}_0", capture_chain.connect.rest
    config = connector_config(mapping, capture_chain.postgres.url) | {"publication.autocreate.mode": "disabled"}
    rest.put(name, config)
    with pytest.raises(InputRejected, match=r"(?s)failed: .*[Pp]ublication"):
        rest.wait_running(name)
    with capture_chain.database() as database:
        database.execute(f"CREATE PUBLICATION {name} FOR TABLE {mapping.name}.notes")
    rest.restart(name)
    wait_until(lambda: (state := rest.state(name)) is not None and state.running, timeout_s=60.0)


def test_a_worker_that_does_not_run_is_unavailable() -> None:
    [port] = free_ports(1)
    with pytest.raises(Unavailable, match=f"does not answer at {HOST}:{port}"):
        ConnectRest(HOST, port).connectors()


@pytest.mark.parametrize(
    "url",
    ["https://connect:8083", "http://me:secret@connect:8083", "http://connect:8083/base", "connect:8083", "http://c"],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="only http is supported, without a login") as error:
        ConnectRest.at(url)
    assert "secret" not in str(error.value)
    ConnectRest.at("http://connect:8083/")  # is one
