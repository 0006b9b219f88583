"""`up` with a schema registry, and with three nodes: started, noticed when something is wrong, and back again."""

from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from infra.launch.ports import free_ports
from infra.launch.processes import ProcessRecord
from infra.launch.stack import Stack, read_stack
from infra.launch.status import read_status
from infra.launch.topics import repair, topic_drifts
from millrace.diagnosis import diagnose
from millrace.errors import ConfigurationError, Unavailable
from millrace.topics import CATALOGUE, SOURCE_CHANGED
from tests.conditions import wait_until
from tests.infra.launcher import Launcher

REGISTRY: dict[str, Any] = {"registry": {"run": True, "timeout_s": 20.0}}


def _one(stack: Stack, name: str) -> ProcessRecord:
    return next(record for record in stack.processes if record.name == name)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("kafka_installed", "apicurio_installed")
def test_the_registry_starts_with_the_stack_keeps_its_ids_and_comes_back_at_its_address(launcher: Launcher) -> None:
    first = launcher.up(profile="kafka", workers=1, flags=REGISTRY).stack
    access = launcher.connection().registry
    assert access is not None
    assert access.url == first.registry
    notes = (launcher.home / "registry-ids.json").read_text()
    assert any("registered" in line for line in launcher.said)
    found = read_status(launcher.loaded(profile="kafka", **REGISTRY).settings)
    assert found.state == "running"
    assert {process.name: process.state for process in found.processes}["registry"] == "ready"
    _one(first, "registry").kill()
    assert read_status(launcher.loaded(profile="kafka", **REGISTRY).settings).state == "degraded"
    again = launcher.up(profile="kafka", workers=1, flags=REGISTRY)
    assert (again.joined, again.started, again.stack.registry) == (True, ("registry",), first.registry)
    assert set(launcher.down()) == {"broker", "worker-1", "registry"}
    assert not any(record.alive for record in again.stack.processes)
    launcher.said.clear()
    launcher.up(profile="kafka", flags=REGISTRY)
    assert not any("registered" in line for line in launcher.said)
    assert (launcher.home / "registry-ids.json").read_text() == notes


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("kafka_installed")
def test_three_nodes_keep_every_topic_three_times_and_a_drifted_topic_is_noticed(launcher: Launcher) -> None:
    flags: dict[str, Any] = {"kafka": {"nodes": 3, "heap_mb": 512, "start_timeout_s": 120.0}}
    stack = launcher.up(profile="kafka", flags=flags).stack
    assert {process.name for process in stack.brokers} == {"broker", "broker-2", "broker-3"}
    found = read_status(launcher.loaded(profile="kafka", **flags).settings)
    assert (found.state, {process.state for process in found.processes}) == ("running", {"ready"})
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    topics = admin.list_topics(timeout=20).topics
    assert {len(p.replicas) for name in CATALOGUE for p in topics[name].partitions.values()} == {3}
    loaded = launcher.loaded(profile="kafka", **flags)
    assert topic_drifts(loaded.settings, stack) == []
    assert not any("warning" in line for line in launcher.said)

    resource = ConfigResource(ConfigResource.Type.TOPIC, SOURCE_CHANGED.name)
    resource.add_incremental_config(ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET))
    next(iter(admin.incremental_alter_configs([resource]).values())).result(20)
    drift = f"{SOURCE_CHANGED.name} has retention.ms 1000 instead of 604800000"

    def warned() -> bool:  # a node may answer that has not yet learned of the change: each look is its own
        assert launcher.up(profile="kafka", flags=flags).joined
        return any(drift in line and "topics --repair" in line for line in launcher.said)

    def diagnosed() -> bool:
        [finding] = [each for each in diagnose(launcher.connection, 20.0) if each.name == "topic settings"]
        return (finding.state, finding.detail) == ("wrong", drift)

    wait_until(warned)
    wait_until(diagnosed)
    wait_until(lambda: [str(each) for each in repair(loaded.settings, stack)] == [drift])
    wait_until(lambda: topic_drifts(loaded.settings, stack) == [])

    assert set(launcher.down()) == {"broker", "broker-2", "broker-3"}
    assert not any(process.alive for process in stack.processes)
    with pytest.raises(ConfigurationError, match=r"data of 3 nodes, and the setting kafka\.nodes is 1"):
        launcher.up(profile="kafka")
    with pytest.raises(ConfigurationError, match=r"written without passwords, and the setting kafka\.secured is True"):
        launcher.up(profile="kafka", flags={"kafka": {**flags["kafka"], "secured": True}})


@pytest.mark.usefixtures("kafka_installed")
def test_a_registry_of_the_users_own_that_is_down_stops_the_start_with_a_readable_message(launcher: Launcher) -> None:
    flags = {"registry": {"url": f"http://127.0.0.1:{free_ports(1)[0]}"}}
    with pytest.raises(Unavailable, match=r"schema registry at .* does not answer"):
        launcher.up(profile="kafka", workers=1, flags=flags)
    assert read_stack(launcher.home) is None
