"""Settings: flags, then environment, then millrace.toml, then defaults; each with its origin."""

import ast
import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from infra.launch.rights import DEPLOYABLES, WORKER
from infra.settings import ModelSettings, Settings, load, process_environment
from infra.settings.servers import KafkaSettings
from infra.worker import pump_settings
from millrace.errors import ConfigurationError

NAME = "worker.max_in_flight"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_sources_win_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (load().settings.worker.max_in_flight, load().origins.get(NAME)) == (16, None)
    (tmp_path / "millrace.toml").write_text("[worker]\nmax_in_flight = 1\n")
    assert (load().settings.worker.max_in_flight, load().origins[NAME]) == (1, "file millrace.toml")
    monkeypatch.setenv("MILLRACE_WORKER__MAX_IN_FLIGHT", "2")
    found = load()
    assert found.settings.worker.max_in_flight == 2
    assert found.origins[NAME] == "environment MILLRACE_WORKER__MAX_IN_FLIGHT"
    flagged = load({"worker": {"max_in_flight": 3}})
    assert (flagged.settings.worker.max_in_flight, flagged.origins[NAME]) == (3, "flag")


def test_sources_are_merged_setting_by_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "millrace.toml").write_text('[worker]\ncount = 5\nagents = ["mine"]\n')
    monkeypatch.setenv("MILLRACE_WORKER__COUNT", "6")
    worker = load({"worker": {"max_uncommitted": 9}}).settings.worker
    assert (worker.count, worker.agents, worker.max_uncommitted) == (6, ("mine",), 9)


def test_a_flag_that_is_not_given_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PROFILE", "kafka")
    assert load({"profile": None, "worker": {"count": None}}).settings.profile == "kafka"


@pytest.mark.parametrize("profile", ["compose", "kubernetes"])
def test_profiles_of_later_releases_are_refused_clearly(profile: str) -> None:
    with pytest.raises(ConfigurationError, match="is not part of this release; use 'embedded', 'kafka' or 'native'"):
        load({"profile": profile})


def test_the_native_profile_sets_what_nobody_else_did(monkeypatch: pytest.MonkeyPatch) -> None:
    native = load({"profile": "native"})
    chosen = native.settings
    assert (chosen.registry.run, chosen.stores.kind, chosen.models.server) == (True, "weaviate", "triton")
    assert {name for name, _, origin in native.rows() if origin == "profile native"} == {
        "registry.run", "stores.kind", "models.server"
    }  # fmt: skip
    monkeypatch.setenv("MILLRACE_STORES__KIND", "lance")
    found = load({"profile": "native", "stores": {"state": "state"}})
    assert (found.settings.stores.kind, found.settings.stores.state) == ("lance", Path("state"))
    assert found.origins["stores.kind"] == "environment MILLRACE_STORES__KIND"
    inside = Settings(profile="native", models=ModelSettings(threads=3))
    assert (inside.models.threads, inside.models.server) == (3, "triton")
    assert load({"profile": "kafka"}).settings.models.server == "in_process"


def test_the_profile_of_what_runs_counts_over_all_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that `status`, or a worker started by hand, need not be told again."""
    monkeypatch.setenv("MILLRACE_PROFILE", "embedded")
    monkeypatch.setenv("MILLRACE_REGISTRY__RUN", "true")
    asked: list[Path] = []

    def profile_of(home: Path) -> str:
        asked.append(home)
        return "native"

    found = load({"home": "stack"}, profile_of=profile_of)
    assert (found.settings.profile, found.settings.stores.kind) == ("native", "weaviate")
    assert (asked, found.origins["profile"]) == ([tmp_path / "stack"], f"stack in {tmp_path / 'stack'}")
    with pytest.raises(ConfigurationError, match="a schema registry is set"):
        load({"home": "stack"})


def test_a_value_out_of_bounds_is_named_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PARTITIONS__CORPUS", "0")
    wanted = (
        r"'partitions\.corpus' from environment MILLRACE_PARTITIONS__CORPUS: .*greater than or equal to 1.*found '0'"
    )
    with pytest.raises(ConfigurationError, match=wanted):
        load()


@pytest.mark.parametrize("content", ["[worker]\nmax_inflight = 3\n", "nonsense = 1\n"])
def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "millrace.toml").write_text(content)
    with pytest.raises(ConfigurationError, match=r"from file millrace\.toml: unknown setting"):
        load()


def test_an_unknown_setting_of_a_group_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_WORKER__MAX_INFLIGHT", "3")
    with pytest.raises(ConfigurationError, match="MILLRACE_WORKER__MAX_INFLIGHT: unknown setting"):
        load()


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "millrace.toml").write_text("worker = [")
    with pytest.raises(ConfigurationError, match=r"millrace\.toml"):
        load()


def test_secrets_are_masked_wherever_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA__SASL_PASSWORD", "open-sesame")
    found = load()
    assert found.settings.kafka.sasl_password.get_secret_value() == "open-sesame"
    shown = {name: value for name, value, _ in found.rows()}
    assert set(shown["kafka.sasl_password"]) == {"*"}
    assert "open-sesame" not in json.dumps(shown) + repr(found)


def test_a_wrong_secret_is_not_repeated_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "millrace.toml").write_text('[kafka]\nsasl_password = ["open-sesame"]\n')
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert "open-sesame" not in str(caught.value)


def _secret(folder: Path, name: str, content: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)


def test_a_secret_is_read_from_its_file_before_the_settings_file_and_after_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _secret(tmp_path / "secrets", "millrace_weaviate__api_key", "from-secret\n")
    (tmp_path / "millrace.toml").write_text('[weaviate]\napi_key = "from-file"\n')
    assert load().settings.weaviate.api_key.get_secret_value() == "from-file", "the folder has not been named yet"
    monkeypatch.setenv("MILLRACE_SECRETS", str(tmp_path / "secrets"))
    found = load()
    assert found.settings.weaviate.api_key.get_secret_value() == "from-secret"
    assert found.origins["weaviate.api_key"] == "secret millrace_weaviate__api_key"
    monkeypatch.setenv("MILLRACE_WEAVIATE__API_KEY", "from-environment")
    assert load().settings.weaviate.api_key.get_secret_value() == "from-environment"


def test_secrets_of_others_beside_ours_are_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _secret(tmp_path / "secrets", "kafka-users.json", "{}")
    monkeypatch.setenv("MILLRACE_SECRETS", str(tmp_path / "secrets"))
    assert load().origins == {}


def test_a_folder_of_secrets_that_is_missing_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_SECRETS", str(tmp_path / "none"))
    assert load().origins == {}


def test_a_secret_for_no_setting_of_a_group_is_refused_without_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _secret(tmp_path / "secrets", "millrace_weaviate__apikey", "open-sesame")
    monkeypatch.setenv("MILLRACE_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(ConfigurationError, match="secret millrace_weaviate__apikey: unknown setting") as caught:
        load()
    assert "open-sesame" not in str(caught.value)


def test_a_secret_that_cannot_be_read_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "millrace_weaviate__api_key").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("MILLRACE_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(ConfigurationError, match="MILLRACE_SECRETS names cannot be read"):
        load()


def test_paths_are_absolute_and_lie_in_the_home_folder_unless_given(tmp_path: Path) -> None:
    settings = load({"home": "here"}).settings
    assert settings.home == tmp_path / "here"
    assert settings.objects == str(tmp_path / "here" / "objects")
    assert (settings.vectors, settings.state) == (tmp_path / "here" / "vectors", tmp_path / "here" / "state")
    assert load({"objects": "elsewhere"}).settings.objects == str(tmp_path / "elsewhere")
    assert load({"stores": {"vectors": "fast"}}).settings.vectors == tmp_path / "fast"


def test_an_object_store_that_is_no_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_OBJECTS", "s3://bucket/path")
    with pytest.raises(ConfigurationError, match=r"MILLRACE_OBJECTS: URLs are not part of this release; name a folder"):
        load()


def test_the_cache_follows_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load().settings.cache == Path.home() / ".cache" / "millrace"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load().settings.cache == tmp_path / "millrace"


def test_a_broker_of_the_users_own_needs_the_kafka_profile() -> None:
    with pytest.raises(ConfigurationError, match="use --profile kafka or native, or unset bootstrap"):
        load({"bootstrap": "localhost:9092"})
    assert load({"bootstrap": "localhost:9092", "profile": "kafka"}).settings.bootstrap == "localhost:9092"


def test_a_child_process_finds_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    flagged = load({"profile": "kafka", "home": "there", "worker": {"count": 3, "agents": ["a", "b"]}})
    for name, value in process_environment(**flagged.flags_as_variables()).items():
        monkeypatch.setenv(name, value)
    assert load().settings == flagged.settings


def test_settings_are_frozen() -> None:
    settings = load().settings
    with pytest.raises(ValueError, match="frozen"):
        settings.profile = "kafka"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        settings.worker.count = 9  # type: ignore[misc]


def _groups(model: type[BaseModel]) -> list[type[BaseModel]]:
    nested = [kind.annotation for kind in model.model_fields.values()]
    return [model] + [kind for kind in nested if isinstance(kind, type) and issubclass(kind, BaseModel)]


def test_every_setting_is_described_for_the_reference() -> None:
    missing = [
        f"{group.__name__}.{name}"
        for group in _groups(Settings)
        for name, kind in group.model_fields.items()
        if not kind.description
    ]
    assert missing == []
    assert len(_groups(Settings)) > 5


def _reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os"
    return isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}


def test_nothing_else_of_the_stack_reads_the_environment() -> None:
    checkout = Path(__file__).parents[2]
    reading = {
        str(path.relative_to(checkout))
        for package in ("streams", "agents", "inference", "gateway", "infra")
        for path in (checkout / package).rglob("*.py")
        if any(map(_reads_environment, ast.walk(ast.parse(path.read_text()))))
    }
    assert reading == {"infra/settings/sources.py"}


def test_a_principal_that_no_rule_is_for_is_refused_with_those_that_there_are() -> None:
    known = "'worker', 'corpus-worker', 'query-worker' or 'learn-worker'"
    with pytest.raises(ConfigurationError, match=rf"kafka\.principal.*{known}"):
        load({"kafka": {"principal": "corpus_worker"}})
    allowed = {load({"kafka": {"principal": name}}).settings.kafka.principal for name in (*DEPLOYABLES, WORKER)}
    assert allowed == set(get_args(KafkaSettings.model_fields["principal"].annotation))


def test_the_number_of_nodes_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA__NODES", "3")
    assert load({"profile": "kafka"}).settings.kafka.nodes == 3
    monkeypatch.setenv("MILLRACE_KAFKA__NODES", "2")
    with pytest.raises(ConfigurationError, match=r"kafka\.nodes.*1 or 3"):
        load({"profile": "kafka"})


def test_only_a_broker_that_wakes_no_fetch_is_asked_less_often_after_silence() -> None:
    embedded = pump_settings(load({"profile": "embedded"}).settings)
    assert (embedded.fetch_max_wait_ms, embedded.fetch_idle_wait_ms) == (5, 50)
    kafka = pump_settings(load({"profile": "kafka"}).settings)
    assert (kafka.fetch_max_wait_ms, kafka.fetch_idle_wait_ms) == (250, 250)
