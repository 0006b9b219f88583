"""Laws about finding the stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.connection import Connection, find_connection
from millrace.errors import ConfigurationError, StackNotFound, Unavailable


def write(folder: Path, **fields: Any) -> Path:
    home = folder / ".millrace"
    home.mkdir(parents=True)
    stack = {
        "format": 1,
        "profile": "embedded",
        "bootstrap": "127.0.0.1:9",
        "log_epoch": "e1",
        "objects": "/objects",
        "home": str(home),
        "started_at": "2026-01-01T00:00:00Z",
        "processes": [{"name": "broker", "pid": 1, "command": ["x"]}],
        "partitions": {"a": 4},
        "versions": {"millrace": "0.1.0"},
        "control": "127.0.0.1:8",
    }
    (home / "stack.json").write_text(json.dumps(stack | fields))
    return home


def test_it_is_found_in_a_folder_above(tmp_path: Path) -> None:
    home = write(tmp_path)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    found = find_connection(start=inner, environ={})
    assert (found.bootstrap, found.profile, found.objects, found.home) == (
        "127.0.0.1:9",
        "embedded",
        "/objects",
        str(home),
    )
    assert (found.fetch_max_wait_ms, found.partitions, found.processes[0].name) == (5, {"a": 4}, "broker")
    assert found.origin == str(home / "stack.json")


def test_arguments_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    environ = {"MILLRACE_BOOTSTRAP": "env:1", "MILLRACE_OBJECTS": "/shared"}
    assert find_connection("arg:1", start=tmp_path, environ=environ).bootstrap == "arg:1"
    from_environment = find_connection(start=tmp_path, environ=environ)
    assert (from_environment.bootstrap, from_environment.objects, from_environment.profile) == (
        "env:1",
        "/shared",
        "",
    )


def test_an_object_store_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a URL; this release keeps objects in a folder"):
        find_connection("arg:1", objects="s3://bucket", start=tmp_path, environ={})
    assert find_connection("arg:1", start=tmp_path, environ={}).objects_folder is None


def test_the_environment_comes_before_the_settings_file_and_that_before_the_stack(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "millrace.toml").write_text(
        'bootstrap = "toml:1"\nobjects = "shared"\nprofile = "kafka"\n'
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "ada"\nheap_mb = 512\n'
        '[tenant]\nid = "acme"\ngroups = ["staff"]\n[worker]\ncount = 2\n'
    )
    found = find_connection(start=tmp_path, environ={})
    assert (found.bootstrap, found.profile, found.objects) == ("toml:1", "kafka", str(tmp_path / "shared"))
    assert (found.security, found.origin) == (
        {"security_protocol": "SASL_SSL", "sasl_username": "ada"},
        "millrace.toml",
    )
    assert (found.tenant, found.groups) == ("acme", ("staff",))
    environ = {
        "MILLRACE_BOOTSTRAP": "env:1",
        "MILLRACE_OBJECTS": "/elsewhere",
        "MILLRACE_KAFKA__SASL_USERNAME": "eve",
        "MILLRACE_TENANT__ID": "other",
        "MILLRACE_TENANT__GROUPS": '["a", "b"]',
    }
    found = find_connection(start=tmp_path, environ=environ)
    assert (found.bootstrap, found.objects, found.security["sasl_username"]) == ("env:1", "/elsewhere", "eve")
    assert (found.tenant, found.groups) == ("other", ("a", "b"))
    assert find_connection("arg:1", start=tmp_path, environ=environ).bootstrap == "arg:1"


def test_the_settings_file_names_the_home_of_a_stack(tmp_path: Path) -> None:
    home = write(tmp_path / "elsewhere")
    (tmp_path / "millrace.toml").write_text('home = "elsewhere/.millrace"\n[kafka]\nsecurity_protocol = "SASL_SSL"\n')
    found = find_connection(start=tmp_path, environ={})
    assert (found.home, found.security) == (str(home), {})  # the embedded broker of that stack takes no login


@pytest.mark.parametrize("content", ["worker = [", "bootstrap = 3\n", '[tenant]\ngroups = "staff"\n'])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "millrace.toml").write_text(content)
    with pytest.raises(ConfigurationError, match=r"millrace\.toml cannot be read"):
        find_connection(start=tmp_path, environ={})


def test_groups_in_the_environment_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write a list as JSON"):
        find_connection("arg:1", start=tmp_path, environ={"MILLRACE_TENANT__GROUPS": "staff"})


def test_a_named_broker_that_is_the_files_own_keeps_what_the_file_says(tmp_path: Path) -> None:
    write(tmp_path)
    found = find_connection(start=tmp_path, environ={"MILLRACE_BOOTSTRAP": "127.0.0.1:9"})
    assert (found.profile, found.objects) == ("embedded", "/objects")


def test_a_home_elsewhere_is_used(tmp_path: Path) -> None:
    home = write(tmp_path / "elsewhere")
    assert find_connection(start=tmp_path, environ={"MILLRACE_HOME": str(home)}).home == str(home)
    assert find_connection(home=home, start=tmp_path, environ={}).home == str(home)


def test_without_a_stack_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackNotFound, match=r"python -m infra up.*MILLRACE_BOOTSTRAP"):
        find_connection(start=tmp_path, environ={})


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path, format=2)
    with pytest.raises(ConfigurationError, match=r"format 2.*upgrade"):
        find_connection(start=tmp_path, environ={})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": "new"}'])
def test_a_damaged_file_is_refused_in_words(tmp_path: Path, content: str) -> None:
    (write(tmp_path) / "stack.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"stack\.json"):
        find_connection(start=tmp_path, environ={})


def test_credentials_reach_both_clients_under_their_names(tmp_path: Path) -> None:
    environ = {
        "MILLRACE_BOOTSTRAP": "broker:9092",
        "MILLRACE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "MILLRACE_KAFKA__SASL_MECHANISM": "PLAIN",
        "MILLRACE_KAFKA__SASL_USERNAME": "ada",
        "MILLRACE_KAFKA__SASL_PASSWORD": "made-up",
    }
    found = find_connection(start=tmp_path, environ=environ)
    assert found.aiokafka() == {
        "bootstrap_servers": "broker:9092",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "ada",
        "sasl_plain_password": "made-up",
    }
    assert found.librdkafka()["sasl.password"] == "made-up"
    assert found.librdkafka_producer().items() > found.librdkafka().items()
    assert "made-up" not in repr(found)


def test_a_reader_keeps_no_offsets_and_never_goes_to_a_place_that_was_not_named() -> None:
    found = Connection(bootstrap="127.0.0.1:9092", security={"security_protocol": "PLAINTEXT"})
    assert found.aiokafka_reader() == found.aiokafka() | {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "fetch_max_wait_ms": found.fetch_max_wait_ms,
    }


def test_librdkafka_writes_to_the_partitions_that_every_other_client_writes_to() -> None:
    found = Connection(bootstrap="broker:9092").librdkafka_producer()
    assert (found["partitioner"], found["acks"], found["enable.idempotence"]) == ("murmur2_random", "all", True)


def test_a_broker_that_does_not_answer_is_named() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        Connection(bootstrap="127.0.0.1:1").check_reachable(1)


def test_how_long_a_registry_may_take_counts_for_apps_too(tmp_path: Path) -> None:
    write(tmp_path, profile="kafka", registry="http://registry")
    (tmp_path / "millrace.toml").write_text("[registry]\ntimeout_s = 7\n")
    found = find_connection(start=tmp_path, environ={}).registry
    assert found is not None
    assert (found.url, found.timeout_s) == ("http://registry", 7.0)
    elsewhere = {"MILLRACE_BOOTSTRAP": "b:1", "MILLRACE_REGISTRY__URL": "http://other"}
    found = find_connection(start=tmp_path, environ={**elsewhere, "MILLRACE_REGISTRY__TIMEOUT_S": "0.5"}).registry
    assert found is not None
    assert (found.url, found.timeout_s) == ("http://other", 0.5)


@pytest.mark.parametrize("text", ["soon", "-1", "0"])
def test_a_time_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    environ = {"MILLRACE_BOOTSTRAP": "b:1", "MILLRACE_REGISTRY__URL": "http://r", "MILLRACE_REGISTRY__TIMEOUT_S": text}
    with pytest.raises(ConfigurationError, match=r"registry\.timeout_s .*more than 0"):
        find_connection(start=tmp_path, environ=environ)
