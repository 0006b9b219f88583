"""The throw-away Postgres keeps what was committed, asks for its password, and says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pg8000 import dbapi

from infra.capture import Database
from infra.servers import postgres
from infra.servers.postgres import PostgresServer, find_postgres, unprivileged
from infra.settings import process_environment
from millrace.errors import ConfigurationError
from tests.capture_chain import client_of

Start = Callable[[], PostgresServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start clusters for one test alone; the same folder finds the same data again."""
    started: list[PostgresServer] = []
    try:
        programs = find_postgres()
        unprivileged()
    except ConfigurationError as error:
        pytest.skip(f"Postgres not tested: {error}")

    def make() -> PostgresServer:
        started.append(PostgresServer(tmp_path / "postgres", programs=programs, environment=process_environment()))
        return started[-1].start()

    yield make
    for each in started:
        each.stop()


@pytest.mark.native
def test_a_restart_and_a_kill_keep_port_password_and_rows(start: Start) -> None:
    server = start()
    url, process = server.url, server.process
    with client_of(url) as client:
        client.execute("CREATE TABLE kept (n int)")
        assert client.execute("SHOW wal_level") == [["logical"]]
        for n, end in enumerate((server.stop, server.kill)):
            with client_of(url) as writer:
                writer.execute("INSERT INTO kept VALUES (%s)", [n])
            end()  # although a client is connected
            assert not process.alive
            server.start()
    assert server.url == url
    with client_of(url) as reader:
        assert reader.execute("SELECT n FROM kept ORDER BY n") == [[0], [1]]


@pytest.mark.native
def test_it_runs_as_no_root_on_loopback_and_asks_for_the_password(start: Start) -> None:
    server = start()
    with pytest.raises(dbapi.DatabaseError, match="password authentication failed"):
        Database.at(server.url)._replace(password="wrong").connect()
    found = server.process.find()
    assert found is not None
    assert {c.laddr.ip for c in found.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    password = server.log.parent / "password"
    assert password.stat().st_mode & 0o077 == 0
    assert server.password not in " ".join(found.cmdline())


def test_without_postgres_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Postgres 14 not found .* install the package postgresql-15"):
        find_postgres(tmp_path)


@pytest.mark.parametrize(("versions", "found"), [(["13"], ""), (["13", "15", "9.6"], "15"), (["9", "14"], "14")])
def test_the_newest_that_will_do_is_taken(tmp_path: Path, versions: list[str], found: str) -> None:
    for version in versions:
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "postgres").touch()
    if found:
        assert find_postgres(tmp_path) == tmp_path / found / "bin"
    else:
        with pytest.raises(ConfigurationError, match="is version 13; install the package postgresql-15"):
            find_postgres(tmp_path)


def test_a_machine_too_busy_to_ask_is_one_where_nothing_is_ready_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_ASK_S", 0.1)
    ask = tmp_path / "pg_isready"
    ask.write_text("#!/bin/sh\nexec sleep 60\n")
    ask.chmod(0o700)
    assert not PostgresServer.answers(tmp_path, 1, process_environment())
