"""A throw-away Postgres cluster with logical decoding, for change capture: the system's binaries, a folder, loopback.

Postgres refuses to run as root. Where the launcher is root, its processes live in a user namespace in which they are an
ordinary user, so that the cluster's files stay the launcher's own.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

import psutil

from infra.launch.home import write_private
from infra.launch.ports import HOST
from infra.servers.server import Server
from millrace.errors import ConfigurationError, Unavailable

_PLACES: Final = Path("/usr/lib/postgresql")
_AT_LEAST: Final = 14
_UNPRIVILEGED: Final = 1000
_ASK_S: Final = 5.0
# A cluster for development and tests: small, and as durable as the default says, since it is killed on purpose.
_PARAMETERS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "8",
    "max_replication_slots": "8",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
}


def find_postgres(places: Path = _PLACES) -> Path:
    """Folder with the programs of the newest Postgres that is installed.

    Parameters
    ----------
    places : Path
        Where a distribution puts them: ``<places>/<version>/bin``.

    Raises
    ------
    ConfigurationError
        There is none, or it is too old.
    """
    found = {
        int(folder.parent.name): folder
        for folder in places.glob("*/bin")
        if re.fullmatch(r"\d+", folder.parent.name) and (folder / "postgres").exists()
    }
    remedy = "install the package postgresql-15, or capture from a database of yours"
    if not found:
        raise ConfigurationError(f"Postgres {_AT_LEAST} not found below {places}: {remedy}")
    if max(found) < _AT_LEAST:
        raise ConfigurationError(
            f"Postgres {_AT_LEAST} not found: {found[max(found)]} is version {max(found)}; {remedy}"
        )
    return found[max(found)]


class PostgresServer(Server):
    """A Postgres cluster on loopback, with ``wal_level=logical`` and one user who logs in with a password.

    Parameters
    ----------
    folder : Path
        Holds cluster, password and log; created if missing.
    programs : Path
        What `find_postgres` returned.
    environment : mapping of str to str
        Environment of the processes.
    port : int, optional
        Where it listens; chosen when missing, and kept for the life of this object.
    parameters : mapping of str to str, optional
        Further parameters of the server, winning over the own ones.
    options
        As of `Server`.
    """

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "Postgres"
    port_names: ClassVar[tuple[str, ...]] = ("clients",)
    port_setting: ClassVar[str] = "capture.postgres_port"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # disconnects clients; on SIGTERM it waits for them to leave
    user: ClassVar[str] = "millrace"
    database: ClassVar[str] = "postgres"

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path,
        environment: Mapping[str, str],
        port: int | None = None,
        parameters: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(folder, environment=environment, ports={"clients": port} if port else None, **options)
        self._programs = programs
        self.version = programs.parent.name
        self._parameters = {**_PARAMETERS, **(parameters or {})}

    @property
    def port(self) -> int | None:
        """Where it listens; None before the first start."""
        return self.ports.get("clients")

    @property
    def password(self) -> str:
        """Password of `user`; made with the cluster and kept in its folder, private to its owner."""
        return _password(self._folder)

    @property
    def url(self) -> str:
        """Connection URL of `database`, with the password in clear: for a client and for nothing else."""
        return url_at(self._folder, self.address("clients"))

    def kill(self) -> None:
        """End it with SIGKILL, and wait until its own processes have noticed: they hold the cluster's shared memory."""
        found = self._process.find() if self._process is not None else None
        children = found.children() if found else []
        super().kill()
        psutil.wait_procs(children, timeout=self.grace_s)

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        cluster = self._folder / "cluster"
        if not (cluster / "PG_VERSION").exists():
            self._create(cluster)
        parameters = {**self._parameters, "port": str(ports["clients"])}
        flags = [text for name, value in parameters.items() for text in ("-c", f"{name}={value}")]
        return [*unprivileged(), str(self._programs / "postgres"), "-D", str(cluster), *flags]

    @staticmethod
    def answers(programs: Path, port: int, environment: Mapping[str, str]) -> bool:
        """Whether the cluster at a port of loopback takes connections."""
        ask = [str(programs / "pg_isready"), "-q", "-h", HOST, "-p", str(port), "-t", "1"]
        try:
            return subprocess.run(ask, check=False, env=environment, timeout=_ASK_S).returncode == 0
        except subprocess.TimeoutExpired:  # of a machine that is too busy to ask
            return False

    def _ready(self, ports: Mapping[str, int]) -> bool:
        return self.answers(self._programs, ports["clients"], self._environment)

    def _create(self, cluster: Path) -> None:
        shutil.rmtree(cluster, ignore_errors=True)  # of an `initdb` that was interrupted
        write_private(self._folder / "password", secrets.token_urlsafe(24))
        make = [str(self._programs / "initdb"), "-D", str(cluster), "-U", self.user, "--auth=scram-sha-256"]
        make += [f"--pwfile={self._folder / 'password'}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        run = subprocess.run(
            [*unprivileged(), *make], capture_output=True, text=True, check=False, env=self._environment
        )
        if run.returncode != 0:
            shutil.rmtree(cluster, ignore_errors=True)
            raise Unavailable(
                f"Postgres could not create its cluster in {cluster}: {(run.stderr or run.stdout).strip()[-600:]}"
            )


def url_at(folder: Path, address: str) -> str:
    """Connection URL of the cluster in a folder, as `PostgresServer` got it, that listens at ``host:port``."""
    user, database = PostgresServer.user, PostgresServer.database
    return f"postgresql://{user}:{quote(_password(folder), safe='')}@{address}/{database}"


def _password(folder: Path) -> str:
    return (folder / "password").read_text().strip()


def unprivileged() -> list[str]:
    """What to put before a command so that it does not run as root; empty where the launcher is an ordinary user.

    Raises
    ------
    ConfigurationError
        The launcher is root, and this system gives it no user namespace.
    """
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", f"--map-user={_UNPRIVILEGED}", f"--map-group={_UNPRIVILEGED}", "--"]
    if (
        shutil.which(prefix[0]) is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        raise ConfigurationError(
            "Postgres refuses to run as root, and no user namespace can be made (unshare, of util-linux 2.38): start "
            "the stack as an ordinary user, or capture from a database of yours"
        )
    return prefix
