"""``python -m infra deploy`` and stacks that nobody started here; on the servers themselves: test_compose_run.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from infra.deploy import deploy
from infra.launch.elsewhere import stack_elsewhere
from infra.launch.rights import every_spec
from infra.launch.stack import Stack
from infra.launch.topics import repair, topic_drifts
from infra.settings import Settings, load
from infra.worker import plan_changelogs
from millrace.errors import ConfigurationError, Unavailable
from millrace.topic_settings import catalogue_settings, drifted
from millrace.topics import DAY_MS
from tests.brokers import StartKafka
from tests.conditions import wait_until


def _settings(tmp_path: Path, **flags: Any) -> Settings:
    return load({"home": str(tmp_path / "home"), "profile": "kafka", **flags}, tmp_path / "none").settings


def test_without_a_broker_there_is_nothing_to_deploy_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set bootstrap to the brokers"):
        deploy(_settings(tmp_path))
    assert stack_elsewhere(_settings(tmp_path)) is None


@pytest.mark.parametrize("content", [None, "[]", '{"app": 5}'])
def test_passwords_that_cannot_be_read_are_refused_before_anything_is_touched(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "users.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"users\.json cannot be read .*python -m infra secrets"):
        deploy(_settings(tmp_path, bootstrap="127.0.0.1:1"), users=path)


def _check_changelogs(settings: Settings, stack: Stack, client: AdminClient) -> None:
    """Those of conversations are deleted by age, and one that an earlier release made is noticed and set right."""
    kept = {plan.name: plan.config for plan in plan_changelogs(settings, every_spec(settings))}
    aged = {"cleanup.policy": "compact,delete", "retention.ms": str(30 * DAY_MS)}
    assert {name for name, config in kept.items() if config == aged} == {
        f"millrace.tables-{agent}-changelog" for agent in ("conclude_feedback", "score_quality")
    }
    assert topic_drifts(settings, stack, tables=True) == []
    name = "millrace.tables-score_quality-changelog"
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(entry)
    next(iter(client.incremental_alter_configs([resource]).values())).result(20)
    drift = f"{name} has cleanup.policy compact instead of compact,delete"
    wait_until(lambda: [str(each) for each in topic_drifts(settings, stack, tables=True)] == [drift])
    assert topic_drifts(settings, stack) == []
    assert [str(each) for each in repair(settings, stack)] == [drift]
    wait_until(lambda: topic_drifts(settings, stack, tables=True) == [])


@pytest.mark.timeout(120)
def test_a_broker_is_given_its_topics_and_a_stack_is_described_from_settings_alone(
    start_kafka: StartKafka, tmp_path: Path
) -> None:
    server = start_kafka()
    settings = _settings(tmp_path, bootstrap=server.bootstrap, registry={"url": "http://127.0.0.1:1"})
    stack = stack_elsewhere(settings)
    assert stack is not None
    assert (stack.bootstrap, stack.log_epoch, stack.registry) == (
        server.bootstrap, server.cluster_id, "http://127.0.0.1:1",
    )  # fmt: skip
    first = deploy(_settings(tmp_path, bootstrap=server.bootstrap))
    assert (first, first.schemas) == (deploy(_settings(tmp_path, bootstrap=server.bootstrap)), 0)
    client = AdminClient({"bootstrap.servers": server.bootstrap})
    assert drifted(client, catalogue_settings()) == []
    assert set(catalogue_settings()) <= set(client.list_topics(timeout=10).topics)
    _check_changelogs(settings, stack, client)
    (users := tmp_path / "users.json").write_text(json.dumps({"nobody": "x"}))
    with pytest.raises(ConfigurationError, match="principal 'nobody' has a password, but no rights are known"):
        deploy(_settings(tmp_path, bootstrap=server.bootstrap), users=users)
    with pytest.raises(ConfigurationError, match=r"set weaviate\.url and weaviate\.grpc"):
        deploy(_settings(tmp_path, bootstrap=server.bootstrap), roles=True)
    with pytest.raises(Unavailable, match="schema registry"):
        deploy(settings)
