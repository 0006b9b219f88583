"""Secured nodes: nobody without a password, and each principal what it needs and nothing else."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic

from infra.launch.broker import broker_connection
from infra.launch.processes import ProcessRecord
from infra.launch.rights import DEPLOYABLES, all_rights, apply_rules
from infra.launch.stack import Stack
from infra.launch.up import down, up
from infra.launch.workers import wait_ready
from infra.rights import Rights, grant
from infra.settings import Settings, load, process_environment
from millrace.client import Millrace
from millrace.connection import Connection, find_connection
from millrace.diagnosis import diagnose
from millrace.errors import ConfigurationError
from millrace.topics import ANSWER_PRODUCED, CATALOGUE, REPLY, SOURCE_CHANGED
from tests.brokers import Broker
from tests.faults.report import FaultRow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PRINCIPALS = ("app", "gateway", "operator", "worker", *DEPLOYABLES)
OTHERS_REPLIES = "query.reply.other-app.v1"


@dataclass(frozen=True)
class Secured:
    """A secured stack without workers."""

    settings: Settings
    stack: Stack

    def connection(self, user: str) -> Connection:
        return broker_connection(self.settings, self.stack.bootstrap, user)

    def may_write(self, user: str, topic: str) -> bool:
        """Whether the broker takes a record, one that no reader could decode."""
        failures: list[KafkaError | None] = []
        producer = Producer(self.connection(user).librdkafka() | {"log_level": 0})
        producer.produce(topic, b"", key=b"k", on_delivery=lambda error, _: failures.append(error))
        assert producer.flush(20) == 0
        return _allowed(failures[0])

    def readable(self, user: str) -> set[str]:
        """Topics that the broker would hand out, by its own word."""
        admin = AdminClient(self.connection(user).librdkafka() | {"log_level": 0})
        names = [*TOPICS, OTHERS_REPLIES]
        asked = admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=20)
        found = set()
        for name, future in asked.items():
            try:
                operations = future.result().authorized_operations
            except KafkaException as error:
                operations = [AclOperation.READ] if _allowed(error.args[0]) else []
            if AclOperation.READ in operations:
                found.add(name)
        return found


def _allowed(error: KafkaError | None) -> bool:
    assert error is None or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, error
    return error is None


@pytest.fixture(scope="module")
def secured(kafka_installed: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    home = tmp_path_factory.mktemp("secured") / "home"
    flags: dict[str, Any] = {
        "home": str(home),
        "profile": "kafka",
        "kafka": {"secured": True},
        "models": {"embedder": "hashing"},
        "worker": {"count": 0},
    }
    loaded = load(flags, home / "none")
    stack = up(loaded).stack
    admin = AdminClient(broker_connection(loaded.settings, stack.bootstrap).librdkafka())
    for future in admin.create_topics([NewTopic(OTHERS_REPLIES, 1)]).values():
        future.result()
    yield Secured(loaded.settings, stack)
    down(loaded.settings)


TOPICS = frozenset(CATALOGUE)


def _topics(*names: str) -> frozenset[str]:
    """Topics whose names begin with these parts."""
    found = {name: {each for each in TOPICS if each.startswith(f"{name}.")} for name in names}
    assert all(found.values()), found
    return frozenset[str]().union(*found.values())


VISIBLE = ("corpus.document", "corpus.acl")
FROM_APPS = (
    "corpus.source", "corpus.acl", "query.request.received", "query.request.cancelled", "query.feedback",
    "query.interaction",
)  # fmt: skip
READABLE = {
    "app": _topics(*VISIBLE, "corpus.source", "query.reply"),
    "gateway": _topics(
        *VISIBLE, "corpus.source", "corpus.statistics", "query", "guard", "review", "learn", "usage"
    ),
    "operator": TOPICS,
    "corpus-worker": _topics("corpus", "review.decision"),
    "query-worker": _topics(
        *VISIBLE, "corpus.statistics", "query.request", "query.context", "query.completion", "query.answer",
        "usage.answer",
    ),
    "learn-worker": _topics(
        *VISIBLE, "corpus.statistics", "query.request.received", "query.context", "query.answer", "review.decision",
        "query.feedback", "query.interaction", "query.session", "learn.quality", "learn.signal",
        "learn.example.proposed",
    ),
}  # fmt: skip
WRITABLE = {
    "app": _topics(*FROM_APPS),
    "gateway": _topics(*FROM_APPS, "review.decision"),
    "operator": TOPICS,
    "corpus-worker": _topics("corpus", "guard.verdict", "review.item") - _topics("corpus.source"),
    "query-worker": _topics(
        "query.request.admitted", "query.context", "query.completion", "query.answer", "query.reply", "guard.verdict",
        "review.item", "usage",
    ),
    "learn-worker": _topics("learn", "review.item", "query.feedback", "query.session"),
}  # fmt: skip


@pytest.mark.parametrize("user", READABLE)
def test_a_principal_reads_and_writes_its_own_topics_and_no_other(
    secured: Secured, user: str, fault_row: Callable[[FaultRow], None]
) -> None:
    """E10."""
    assert secured.readable(user) == READABLE[user]
    assert {topic for topic in TOPICS if secured.may_write(user, topic)} == WRITABLE[user]
    assert not secured.may_write(user, OTHERS_REPLIES)
    note = f"{len(READABLE[user])} of {len(TOPICS) + 1} topics readable, {len(WRITABLE[user])} writable, as declared"
    fault_row(FaultRow(f"E10 topics of others, as {user}", "kafka", note=note))


@pytest.mark.parametrize("user", PRINCIPALS)
def test_nobody_but_the_admin_makes_topics_or_rules(secured: Secured, user: str) -> None:
    admin = AdminClient(secured.connection(user).librdkafka() | {"log_level": 0})
    [creation] = admin.create_topics([NewTopic("mine", 1)]).values()
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        creation.result(20)
    [deletion] = admin.delete_topics([SOURCE_CHANGED.name]).values()
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        deletion.result(20)
    every = {name: rights for name, rights in all_rights(secured.settings).items() if name == user}
    with pytest.raises(Exception, match="admin"):
        grant(admin, every)


@pytest.mark.parametrize(
    "security",
    [
        {},
        {"sasl_password": "guess"},
        {"sasl_username": "nobody"},
        {"sasl_mechanism": "PLAIN"},
    ],
    ids=["nothing", "wrong password", "unknown user", "a mechanism in clear"],
)
def test_without_the_right_credentials_nobody_comes_in(
    secured: Secured, security: dict[str, str], request: pytest.FixtureRequest, fault_row: Callable[[FaultRow], None]
) -> None:
    """E10."""
    known = dict(secured.connection("app").security) if security else {}
    connection = Connection(bootstrap=secured.stack.bootstrap, security=known | security)
    client = AdminClient(connection.librdkafka() | {"log_level": 0})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)
    fault_row(FaultRow(f"E10 credentials: {request.node.callspec.id}", "kafka", note="refused"))


def test_nodes_without_passwords_let_everybody_do_everything(kafka_broker: Broker) -> None:
    """Control of E10: who reads and writes there needs nothing."""
    topic = kafka_broker.create_topic("open")
    client = AdminClient(Connection(bootstrap=kafka_broker.bootstrap).librdkafka())
    assert topic in client.list_topics(timeout=20).topics
    failures: list[KafkaError | None] = []
    producer = Producer(Connection(bootstrap=kafka_broker.bootstrap).librdkafka())
    producer.produce(topic, b"", key=b"k", on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(20) == 0
    assert _allowed(failures[0])


def test_the_controllers_let_nobody_in_either(secured: Secured) -> None:
    properties = (secured.settings.home / "kafka" / "server.properties").read_text()
    address = properties.split("controller.quorum.voters=1@")[1].split("\n")[0]
    said: list[KafkaError] = []
    guess = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "broker"}
    connection = Connection(bootstrap=address, security={**guess, "sasl_password": "guess"})
    client = AdminClient(connection.librdkafka() | {"log_level": 0, "error_cb": said.append})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)
    client.poll(1)
    assert KafkaError._AUTHENTICATION in {error.code() for error in said}


def test_passwords_stand_in_private_files_alone(secured: Secured) -> None:
    home = secured.settings.home
    passwords = [json.loads(path.read_text())["sasl_password"] for path in (home / "kafka" / "secrets").iterdir()]
    assert len(set(passwords)) == len(PRINCIPALS) + 2
    for path in home.rglob("*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            if any(password in text for password in passwords):
                assert path.stat().st_mode & 0o077 == 0, path
                assert path.suffix != ".log", path
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not any(password in commands for password in passwords)


def test_rules_that_somebody_added_are_taken_away_and_nothing_changes_twice(secured: Secured) -> None:
    admin = AdminClient(secured.connection("admin").librdkafka())
    wanted = all_rights(secured.settings)
    assert grant(admin, wanted) == 0
    more = {"app": wanted["operator"]}
    assert grant(admin, more) > 0
    assert ANSWER_PRODUCED.name in secured.readable("app")
    assert grant(admin, wanted) > 0
    assert ANSWER_PRODUCED.name not in secured.readable("app")


def test_the_command_line_finds_its_credentials_in_the_stack(secured: Secured) -> None:
    connection = find_connection(home=secured.settings.home, environ={})
    assert connection.security["sasl_username"] == "operator"
    findings = {finding.name: finding for finding in diagnose(lambda: connection, 10.0)}
    assert findings["broker"].state == "ok"
    assert findings["topics"].state == findings["topic settings"].state == "ok"


async def test_workers_of_the_two_paths_and_an_app_do_their_work_as_themselves(secured: Secured) -> None:
    home = secured.settings.home
    with ExitStack() as ends:
        for user, modules in DEPLOYABLES.items():
            process = ends.enter_context(_run_worker(home, user, modules))
            wait_ready(home, [ProcessRecord(user, process.pid, psutil.Process(process.pid).create_time(), "")], 60.0)
        app = find_connection(home=home, environ={})
        app = Connection(
            bootstrap=app.bootstrap,
            profile=app.profile,
            objects=app.objects,
            security=secured.connection("app").security,
        )
        tenant = f"tenant-{secrets.token_hex(4)}"
        async with Millrace(app, tenant=tenant, timeout_s=60.0) as client:
            receipt = await client.put_document(
                "a.md", "The lighthouse of Alexandria was built by Ptolemy.", groups=("*",)
            )
            answer = await client.ask("Who built the lighthouse of Alexandria?", after=receipt)
    assert "Ptolemy" in answer.text


@contextmanager
def _run_worker(home: Path, user: str, modules: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as somebody would deploy it: its agents, and its credentials."""
    options = {"kafka__secured": "true", "kafka__principal": user, "models__embedder": "hashing", "home": str(home)}
    command = [sys.executable, "-m", "infra", "worker", "--name", user]
    agents = [part for module in modules for part in ("--agents", module)]
    log = (home / "logs" / f"{user}.log").open("wb")
    environment = process_environment(profile="kafka", **options)
    with log, subprocess.Popen([*command, *agents], env=environment, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_broker_of_the_user_s_own_gets_the_rules_that_are_missing_and_keeps_all_others(
    secured: Secured, tmp_path: Path
) -> None:
    login = secured.connection("admin").security
    environment = process_environment(
        home=str(tmp_path / "home"),
        profile="kafka",
        bootstrap=secured.stack.bootstrap,
        kafka__security_protocol=login["security_protocol"],
        kafka__sasl_mechanism=login["sasl_mechanism"],
        kafka__sasl_username=login["sasl_username"],
        kafka__sasl_password=login["sasl_password"],
    )

    def rules(*options: str) -> Any:
        command = [sys.executable, "-m", "infra", "rules", "--json", *options]
        run = subprocess.run(command, capture_output=True, check=True, env=environment, cwd=tmp_path)
        return json.loads(run.stdout)

    admin = AdminClient(secured.connection("admin").librdkafka())
    wanted = all_rights(secured.settings)
    grant(admin, {"app": Rights(reads=frozenset({OTHERS_REPLIES}))})
    assert secured.readable("app") == {OTHERS_REPLIES}
    printed = rules()
    assert printed["added"] == 0
    assert secured.readable("app") == {OTHERS_REPLIES}
    assert {
        "principal": "User:app", "operation": "READ", "resource": "TOPIC", "pattern": "LITERAL", "name": REPLY.name
    } in printed["rules"]  # fmt: skip
    assert rules("--apply")["added"] == len(wanted["app"].bindings("app"))
    assert secured.readable("app") == READABLE["app"] | {OTHERS_REPLIES}
    assert rules("--apply")["added"] == 0
    assert grant(admin, wanted) == 1


def test_rules_are_set_at_a_broker_that_the_settings_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set bootstrap to its address"):
        apply_rules(Settings(home=tmp_path, profile="kafka"))
