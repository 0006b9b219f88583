"""What the connector is told follows from the mapping, and what is missing for a capture is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.capture import Database, capture, connector_config
from infra.launch.home import prepare_home
from infra.launch.stack import Stack, write_stack
from infra.servers.connect import ConnectRest
from infra.settings import Settings
from millrace.errors import ConfigurationError, StackNotFound
from streams.sources.cdc import CaptureMapping, TableMapping

URL = "postgresql://reader:p%40ss@db.example.com:5433/shop"
MAPPING = '[tables."public.notes"]\ncontent = "body"\n'


def _settings(tmp_path: Path, **capture: Any) -> Settings:
    (tmp_path / "capture.toml").write_text(f'name = "shop"\n{MAPPING}')
    given = {"mapping": tmp_path / "capture.toml", "database_url": URL, "connect_url": "http://127.0.0.1:1"}
    return Settings(home=tmp_path / "home", capture={**given, **capture})


def _write(settings: Settings, profile: str, **more: str) -> None:
    """Say that a stack runs in the home folder."""
    prepare_home(settings.home)
    write_stack(Stack(profile, "127.0.0.1:1", "e", objects="", home=str(settings.home), started_at="", **more))  # type: ignore[arg-type]


def test_the_connector_reads_the_tables_of_the_mapping_and_nothing_is_passed_over() -> None:
    tables = {"public.notes": TableMapping(key=("org", "id")), "crm.pages": TableMapping()}
    config = connector_config(CaptureMapping(name="shop", epoch=3, tables=tables), URL)
    assert config["slot.name"] == config["publication.name"] == "millrace_shop_3"
    assert config["table.include.list"] == r"public\.notes,crm\.pages"
    assert config["message.key.columns"] == "public.notes:org,id"
    assert config["replica.identity.autoset.values"] == "public.notes:FULL,crm.pages:FULL"
    assert (config["skipped.operations"], config["snapshot.mode"]) == ("none", "no_data")
    login = [config[f"database.{name}"] for name in ("hostname", "port", "user", "password", "dbname")]
    assert login == ["db.example.com", "5433", "reader", "p@ss", "shop"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u@h/d", "write postgresql://user"),
        ("postgresql://h/d", "write postgresql://user"),
        ("postgresql://u@h", "write postgresql://user"),
        ("postgresql://u@h:x/d", "write postgresql://user"),
        ("postgresql://u@h/d?sslmode=maybe", "sslmode='maybe'; allowed are disable"),
    ],
)
def test_what_is_no_database_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Database.at(url)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"mapping": None}, r"capture\.mapping is missing"),
        ({"database_url": ""}, r"capture\.database_url is missing"),
        ({"connect_url": ""}, r"capture\.connect_url is missing"),
    ],
)
def test_a_setting_that_is_missing_is_named(tmp_path: Path, missing: dict[str, Any], message: str) -> None:
    settings = _settings(tmp_path, **missing)
    _write(settings, "kafka")
    with pytest.raises(ConfigurationError, match=message):
        capture(settings)


def test_without_a_stack_or_on_the_embedded_broker_the_remedy_is_named(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    with pytest.raises(StackNotFound, match="python -m infra up"):
        capture(settings)
    _write(settings, "embedded", control="127.0.0.1:2")
    with pytest.raises(ConfigurationError, match="--profile kafka"):
        capture(settings)


@pytest.mark.parametrize("url", ["connect:8083", "https://connect:8083", "http://connect", "http://[", "http://c:x"])
def test_what_is_no_address_of_connect_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write http://host:8083"):
        ConnectRest.at(url)


def test_the_password_is_masked_where_settings_are_shown(tmp_path: Path) -> None:
    assert "p%40ss" not in _settings(tmp_path).model_dump_json()
