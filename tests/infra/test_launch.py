"""`up`, `down` and `status`: a stack from nothing and back."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka.admin import AdminClient

from infra.launch.home import held
from infra.launch.processes import ProcessRecord
from infra.launch.stack import Stack, read_stack, write_stack
from infra.launch.status import read_status
from infra.launch.up import up
from infra.settings import load
from millrace.connection import find_connection
from millrace.errors import ConfigurationError, Unavailable
from millrace.topics import CATALOGUE, SOURCE_CHANGED
from tests.brokers import StartKafka
from tests.infra.launcher import WORKER, Launcher


def _one(stack: Stack, name: str) -> ProcessRecord:
    return next(record for record in stack.processes if record.name == name)


def test_up_leaves_a_broker_with_all_topics_and_workers_running(launcher: Launcher) -> None:
    stack = launcher.up(workers=2).stack
    assert [record.name for record in stack.processes] == ["broker", "worker-1", "worker-2"]
    assert all(record.alive for record in stack.processes)
    topics = AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10).topics
    assert set(CATALOGUE) <= set(topics)
    assert {name: len(topics[name].partitions) for name in stack.partitions} == stack.partitions


def test_partitions_come_from_the_settings_of_the_key_group(launcher: Launcher) -> None:
    stack = launcher.up(flags={"partitions": {"corpus": 6}}).stack
    assert stack.partitions[SOURCE_CHANGED.name] == 6
    assert stack.partitions[SOURCE_CHANGED.dead_letters] == 6
    assert stack.partitions["query.request.received.v1"] == 4


def test_what_up_writes_is_private_and_found_by_the_sdk(launcher: Launcher) -> None:
    stack = launcher.up().stack
    assert stat.S_IMODE((launcher.home / "stack.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(launcher.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(stack.processes[0].log).stat().st_mode) == 0o600
    connection = find_connection(home=launcher.home, environ={})
    assert (connection.bootstrap, connection.log_epoch) == (stack.bootstrap, stack.log_epoch)
    assert connection.objects_folder == launcher.home / "objects"


def test_a_second_up_joins(launcher: Launcher) -> None:
    first = launcher.up(workers=1)
    second = launcher.up(workers=1)
    assert (first.joined, second.joined) == (False, True)
    assert second.stack.processes == first.stack.processes
    assert second.started == ()


def test_a_joining_up_starts_the_workers_that_are_missing(launcher: Launcher) -> None:
    first = launcher.up(workers=2).stack
    _one(first, "worker-1").kill()
    second = launcher.up(workers=3)
    assert set(second.started) == {"worker-1", "worker-3"}
    assert _one(second.stack, "broker") == _one(first, "broker")
    assert _one(second.stack, "worker-2") == _one(first, "worker-2")


def test_two_ups_at_the_same_time_start_one_stack(tmp_path: Path, launcher: Launcher) -> None:
    command = [sys.executable, "-m", "infra", "up", "--no-workers", "--json", "--home", str(launcher.home)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    answers = [json.loads(process.communicate()[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(answer["joined"] for answer in answers) == [False, True]
    assert answers[0]["processes"] == answers[1]["processes"]


def test_an_up_of_another_profile_is_told_who_holds_the_folder(launcher: Launcher) -> None:
    broker = launcher.up().stack.processes[0]
    with pytest.raises(ConfigurationError, match=rf"held by a stack of profile 'embedded'.*broker {broker.pid}"):
        launcher.up(profile="kafka")
    assert broker.alive


def test_two_stacks_side_by_side_choose_different_ports(launcher: Launcher, tmp_path: Path) -> None:
    other = Launcher(tmp_path / "other")
    try:
        assert launcher.up().stack.bootstrap != other.up().stack.bootstrap
    finally:
        other.down()


def test_a_stack_without_its_broker_is_started_anew(launcher: Launcher) -> None:
    first = launcher.up(workers=1).stack
    _one(first, "broker").kill()
    second = launcher.up(workers=1)
    assert not second.joined
    assert not _one(first, "worker-1").alive
    assert second.stack.log_epoch != first.log_epoch
    assert all(record.alive for record in second.stack.processes)


def test_a_worker_that_fails_to_start_takes_down_what_was_started_and_says_why(launcher: Launcher) -> None:
    with pytest.raises(Unavailable, match="worker-1 failed to start: model file is missing"):
        launcher.up(workers=1, state="failed")
    assert read_stack(launcher.home) is None
    assert _processes_naming(launcher.home) == []


def test_a_worker_that_ends_at_once_is_reported_with_the_end_of_its_log(launcher: Launcher) -> None:
    with pytest.raises(Unavailable, match="nothing to do here"):
        launcher.up(workers=1, state="ended")
    assert _processes_naming(launcher.home) == []


def test_a_worker_that_is_not_ready_in_time_is_reported_with_what_it_waits_for(launcher: Launcher) -> None:
    loaded = load({"home": launcher.home, "worker": {"ready_timeout_s": 0.5}}, launcher.home / "none")
    with pytest.raises(Unavailable, match=r"not ready within 0\.5 s"):
        up(loaded, worker_command=[sys.executable, str(WORKER), "starting"])
    assert _processes_naming(launcher.home) == []


def test_a_failing_worker_does_not_take_down_a_stack_that_ran_before(launcher: Launcher) -> None:
    first = launcher.up(workers=1).stack
    with pytest.raises(Unavailable):
        launcher.up(workers=2, state="failed")
    assert all(record.alive for record in first.processes)
    assert read_stack(launcher.home) == first


def test_a_report_of_an_earlier_process_does_not_count_as_ready(launcher: Launcher) -> None:
    stack = launcher.up(workers=1).stack
    report = launcher.home / "run" / "worker-1.json"
    report.write_text(json.dumps({"pid": 1, "state": "ready"}))
    assert [process.state for process in read_status(launcher.loaded().settings).processes] == ["ready", "starting"]
    assert _one(stack, "worker-1").alive


def test_the_log_is_seeded_once_for_each_new_embedded_log_before_any_worker(launcher: Launcher) -> None:
    seeded: list[tuple[str, ...]] = []

    def seed(_: object, stack: Stack) -> int:
        seeded.append(tuple(record.name for record in stack.processes))
        return 3

    launcher.up(workers=1, seed=seed)
    launcher.up(workers=2, seed=seed)
    assert seeded == [("broker",)]
    assert any("3 records" in line for line in launcher.said)


def test_a_failing_seed_leaves_nothing_behind(launcher: Launcher) -> None:
    def seed(*_: object) -> int:
        raise Unavailable("the table is locked")

    with pytest.raises(Unavailable, match="the table is locked"):
        launcher.up(seed=seed)
    assert read_stack(launcher.home) is None
    assert _processes_naming(launcher.home) == []


def test_down_ends_workers_before_the_broker_and_leaves_no_process(launcher: Launcher) -> None:
    stack = launcher.up(workers=2).stack
    assert launcher.down() == ["broker", "worker-1", "worker-2"]
    for name in ("worker-1", "worker-2"):
        assert json.loads((launcher.home / f"{name}-ended.json").read_text())["broker_answered"]
    assert not any(record.alive for record in stack.processes)
    assert not (launcher.home / "stack.json").exists()


def test_down_twice_is_harmless_and_down_of_nothing_too(launcher: Launcher, tmp_path: Path) -> None:
    launcher.up()
    assert launcher.down() == ["broker"]
    assert launcher.down() == []
    assert Launcher(tmp_path / "never").down() == []
    assert not (tmp_path / "never").exists()


def test_a_worker_deaf_to_sigterm_is_killed_with_a_warning(launcher: Launcher) -> None:
    stack = launcher.up(workers=1, state="deaf").stack
    launcher.down(worker_grace_s=0.3)
    assert not any(record.alive for record in stack.processes)
    assert [line for line in launcher.said if "warning: worker-1" in line]


def test_a_process_that_only_shares_a_recorded_pid_is_never_ended(launcher: Launcher) -> None:
    stack = launcher.up().stack
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        started = psutil.Process(innocent.pid).create_time()
        recorded = ProcessRecord("worker-1", innocent.pid, started - 3600, "")
        write_stack(replace(stack, processes=(*stack.processes, recorded)))
        assert launcher.down() == ["broker"]
        assert innocent.poll() is None
        write_stack(replace(stack, processes=(replace(recorded, create_time=started),)))
        assert launcher.down() == ["worker-1"]


def test_an_up_ended_in_mid_start_ends_what_it_began(launcher: Launcher) -> None:
    begun: list[ProcessRecord] = []

    def interrupted(_: object, stack: Stack) -> int:
        begun.extend(stack.processes)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launcher.up(seed=interrupted)
    assert [record.alive for record in begun] == [False]


@pytest.mark.parametrize("then", ["up", "down"])
def test_a_broker_that_a_killed_up_left_is_ended_by_the_next_command(launcher: Launcher, then: str) -> None:
    left = launcher.up().stack.processes[0]
    (launcher.home / "stack.json").unlink()  # killed before it could write it
    if then == "up":
        assert not launcher.up().joined
    else:
        assert launcher.down() == ["broker"]
    assert not left.alive


def test_status_names_each_process_its_state_and_memory(launcher: Launcher) -> None:
    settings = launcher.loaded().settings
    assert read_status(settings).state == "stopped"
    stack = launcher.up(workers=1).stack
    found = read_status(settings)
    assert (found.state, found.broker_answers) == ("running", True)
    assert [(each.name, each.state) for each in found.processes] == [("broker", "ready"), ("worker-1", "ready")]
    assert all(each.memory_mb > 1 for each in found.processes)
    _one(stack, "worker-1").kill()
    assert [each.state for each in read_status(settings).processes] == ["ready", "ended"]
    assert read_status(settings).state == "degraded"
    _one(stack, "broker").kill()
    assert read_status(settings).state == "stopped"


def test_an_up_waits_for_the_one_that_holds_the_folder_and_then_says_who_it_is(launcher: Launcher) -> None:
    launcher.up()
    with held(launcher.home), pytest.raises(Unavailable, match=f"changed by process {os.getpid()}"):  # noqa: SIM117
        with held(launcher.home, timeout_s=0.2):
            pass


@pytest.mark.slow
@pytest.mark.usefixtures("kafka_installed")
async def test_kafka_keeps_records_and_cluster_over_down_and_up(launcher: Launcher) -> None:
    first = await asyncio.to_thread(launcher.up, profile="kafka")
    async with AIOKafkaProducer(bootstrap_servers=first.stack.bootstrap, acks="all") as producer:
        await producer.send_and_wait(SOURCE_CHANGED.name, b"kept", partition=2)
    await asyncio.to_thread(launcher.down)
    second = await asyncio.to_thread(launcher.up, profile="kafka")
    assert second.stack.log_epoch == first.stack.log_epoch
    async with AIOKafkaConsumer(bootstrap_servers=second.stack.bootstrap) as consumer:
        partition = TopicPartition(SOURCE_CHANGED.name, 2)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        assert (await consumer.getone()).value == b"kept"
    await asyncio.to_thread(launcher.down)
    with pytest.raises(ConfigurationError, match=r"'corpus\.source\.changed\.v1' has 4 \(settings say 8\)"):
        await asyncio.to_thread(launcher.up, profile="kafka", flags={"partitions": {"corpus": 8}})
    assert _processes_naming(launcher.home) == []


def test_a_broker_of_the_users_own_is_joined_and_never_ended(launcher: Launcher, start_kafka: StartKafka) -> None:
    node = start_kafka()
    stack = launcher.up(profile="kafka", workers=1, flags={"bootstrap": node.bootstrap}).stack
    assert stack.broker is None
    assert stack.log_epoch == node.cluster_id
    made = AdminClient({"bootstrap.servers": node.bootstrap}).list_topics(timeout=10).topics
    assert "millrace.tables-total_usage-changelog" in made  # a worker that may make no topics finds it
    assert launcher.up(profile="kafka", workers=1, flags={"bootstrap": node.bootstrap}).joined
    assert launcher.down() == ["worker-1"]
    assert node.process.alive


def _processes_naming(home: Path) -> list[str]:
    """Command lines of running processes that were started for a home folder."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        named = str(home) in line or (process.info["environ"] or {}).get("MILLRACE_HOME") == str(home)
        if named and process.info["status"] != psutil.STATUS_ZOMBIE and process.info["pid"] != os.getpid():
            found.append(line)
    return found
