"""The Compose files against their schema and against the code: settings, addresses, versions, rights, limits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from gateway.api_keys import ApiKeys
from infra.container_secrets import DERIVED, DRAWN, KEPT
from infra.gateway import check_open
from infra.launch.rights import DEPLOYABLES
from infra.rights import GATEWAY
from infra.servers.apicurio import url_of
from infra.servers.kafka.server import _PROPERTIES as KAFKA_PROPERTIES
from infra.servers.kafka.server import KafkaServer, replication
from infra.servers.postgres import _PARAMETERS as POSTGRES_PARAMETERS
from infra.servers.triton import TritonServer
from infra.servers.weaviate import Keys, WeaviateServer
from infra.settings import Settings, load
from millrace.errors import ConfigurationError
from streams.stores.collection_names import collection_names
from tests.compose_file import COMPOSE, GPU, ROOT, mounted, read_compose, services
from tests.compose_servers import drawn

SERVICES = services()
MONITORING = ROOT / "infra" / "monitoring"
JOBS = {"deploy", "capture-deploy", "capture", "cli"}
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("millrace-worker:")}
SECRETS = read_compose()["secrets"]
MONITORING_PORTS = {"prometheus": {9090}, "grafana": {3000}, "collector": {4318}, "jaeger": {4318, 16686}}
"""Where the images of the profile `monitoring` listen; the collector as its configuration says."""
KEYS = "gateway-keys.json"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smh])", text))


def _mib(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(m|g|MiB)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "g" else 1)


def _secret_settings(model: type[BaseModel] = Settings, prefix: str = "MILLRACE_") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if kind is SecretStr:
            yield f"{prefix}{name.upper()}"
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _secret_settings(kind, f"{prefix}{name.upper()}__")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "secrets")


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secrets: Path) -> Any:
    """Load the settings as a container of ours does, and give them with their origins."""

    def found(name: str) -> Any:
        (folder := tmp_path / name).mkdir()
        for path, secret in mounted(SERVICES[name]).items():
            (folder / Path(path).name).write_bytes((secrets / secret).read_bytes())
        for variable, value in SERVICES[name]["environment"].items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("MILLRACE_SECRETS", str(folder))
        monkeypatch.chdir(tmp_path)
        loaded = load()
        for variable in SERVICES[name]["environment"]:
            monkeypatch.delenv(variable)
        return loaded

    return found


@pytest.mark.parametrize("path", [COMPOSE, GPU], ids=lambda path: path.name)
def test_the_file_follows_the_schema_of_compose(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _client() -> list[str] | None:
    """Compose, where it is installed; `config` needs no engine."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and not subprocess.run([*command, "version"], capture_output=True, check=False, timeout=20).returncode
        ):
            return command
    return None


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, GPU]], ids=["cpu", "gpu"])
def test_compose_itself_takes_the_files(files: list[Path], tmp_path: Path, secrets: Path) -> None:
    if (client := _client()) is None:
        pytest.skip("Compose is not installed; the schema and the tests below hold the file all the same")
    shutil.copytree(secrets, tmp_path / "secrets")
    shutil.copytree(MONITORING, tmp_path / "infra" / "monitoring")
    (tmp_path / "capture.toml").touch()
    options = [part for path in files for part in ("-f", str(shutil.copy(path, tmp_path)))]
    command = [*client, *options, "--profile", "*", "config", "--format", "json"]
    run = subprocess.run(
        command, env={**os.environ, "TRITON_IMAGE": "tritonserver:25.01-py3"}, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert set(yaml.safe_load(run.stdout)["services"]) == set(SERVICES)


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_of_ours_is_a_setting_and_every_secret_reaches_one(name: str, settings_of: Any) -> None:
    loaded = settings_of(name)
    known = {row[0] for row in loaded.rows()}
    for variable in SERVICES[name]["environment"]:
        setting = variable.removeprefix("MILLRACE_").lower().replace("__", ".")
        assert setting in known, f"{name}: {variable} is no setting"
        assert loaded.origins[setting] == f"environment {variable}"
    for path in mounted(SERVICES[name]):
        if (file := Path(path).name).startswith("millrace_"):
            setting = file.removeprefix("millrace_").replace("__", ".")
            assert loaded.origins[setting] == f"secret {file}", f"{name}: {file} is no setting"


def test_no_secret_stands_in_a_file(secrets: Path) -> None:
    secret = set(_secret_settings())
    assert "MILLRACE_WEAVIATE__API_KEY" in secret
    for name, service in services().items():
        environment: Mapping[str, str] = service.get("environment", {})
        assert not secret & set(environment), name
        for variable in environment:
            harmless = variable.endswith(("_FILE", "_ENABLED")) or variable == "POSTGRES_INITDB_ARGS"
            harmless = harmless or variable.startswith("MILLRACE_GATEWAY__TOKENS__")  # whose tokens count
            assert harmless or not re.search(r"PASSWORD|SECRET|TOKEN|JAAS|ALLOWED_KEYS|API_KEY$", variable), variable
    for path in (COMPOSE, GPU):
        long = re.findall(r"[A-Za-z0-9_-]{32,}", path.read_text())
        looks = [each for each in long if re.search(r"[a-z]", each) and re.search(r"[A-Z]", each)]
        assert not looks, f"{path.name} holds what looks like a key"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", (secrets / each).read_text()) for each in DRAWN)


def test_every_secret_is_drawn_by_the_command_and_stays_out_of_git() -> None:
    written = {*DRAWN, *DERIVED, *KEPT}
    for name, spec in SECRETS.items():
        assert set(spec) == {"file"}, name
        path = Path(spec["file"])
        assert path.parent == Path("secrets")
        assert path.name in written, f"{name}: `python -m infra secrets` does not write {path}"
        ignored = subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=ROOT, check=False)
        assert ignored.returncode == 0, f"{path} is not ignored by git"
    for name, service in SERVICES.items():
        wanted = {*mounted(service).values(), *(service.get("build") or {}).get("secrets", ())}
        assert wanted <= set(SECRETS), name


def test_only_who_prepares_the_servers_has_what_may_do_everything() -> None:
    holders = {
        name: {service for service, spec in SERVICES.items() if name in mounted(spec).values()} for name in SECRETS
    }
    assert holders["kafka-admin"] == {"deploy", "capture-deploy", "capture"}
    assert holders["weaviate-admin"] == {"deploy"}
    assert holders["weaviate-reader"] == {"query-worker", "learn-worker"}
    assert holders["kafka-server.properties"] == {"kafka"}
    assert holders["weaviate.env"] == {"weaviate"}
    assert all(len(holders[f"kafka-{name}"]) == 1 for name in (*DEPLOYABLES, "worker", "connect"))


@pytest.mark.parametrize("name", sorted(DEPLOYABLES))
def test_a_worker_runs_the_agents_that_its_principal_has_rights_for(name: str, settings_of: Any) -> None:
    _, *options = SERVICES[name]["command"]
    assert options == [part for module in DEPLOYABLES[name] for part in ("--agents", module)]
    assert settings_of(name).settings.kafka.sasl_username == name


def test_the_gateway_knows_its_callers_and_logs_in_as_itself(settings_of: Any, secrets: Path, tmp_path: Path) -> None:
    settings = settings_of("gateway").settings
    assert settings.kafka.sasl_username == GATEWAY
    assert not settings.gateway.local
    assert SERVICES["gateway"]["ports"] == [f"127.0.0.1:8080:{settings.gateway.port}"]
    assert str(settings.gateway.keys) in mounted(SERVICES["gateway"])
    check_open(settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"keys": secrets / KEYS})}))
    with pytest.raises(ConfigurationError, match="nobody could log in"):
        check_open(
            settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"keys": tmp_path / "no"})})
        )


async def test_the_first_key_of_the_gateway_is_the_drawn_one(secrets: Path) -> None:
    found = await ApiKeys(secrets / KEYS)(f"mr_first_{(secrets / 'gateway-key').read_text()}")
    assert found is not None
    assert (found.tenant, found.kind) == ("default", "service")


def test_all_workers_plan_the_same_topics(settings_of: Any) -> None:
    planned = {name: settings_of(name).settings.partitions for name in sorted(OURS)}
    assert planned == dict.fromkeys(sorted(OURS), Settings().partitions)


def test_the_node_is_set_up_as_the_one_of_the_launcher() -> None:
    found = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in SERVICES["kafka"]["environment"].items()
    }
    other = {"inter.broker.listener.name", "listener.security.protocol.map", "process.roles"}
    for name, value in {**KAFKA_PROPERTIES, **replication(1)}.items():
        if name not in other:
            assert found[name] == value, name
    assert found["allow.everyone.if.no.acl.found"] == "false"
    protocols = dict(each.split(":") for each in found["listener.security.protocol.map"].split(","))
    assert set(protocols.values()) == {"SASL_PLAINTEXT"}, "everyone logs in, everywhere"


def test_the_vector_store_is_set_up_as_the_one_of_the_launcher(secrets: Path, tmp_path: Path) -> None:
    server = WeaviateServer(
        tmp_path,
        program=tmp_path,
        environment={},
        keys=Keys("a", "w", "r", "c"),
        collections=collection_names("Millrace"),
    )
    ports = {name: number for number, name in enumerate(WeaviateServer.port_names, start=1)}
    found, expected = SERVICES["weaviate"]["environment"], dict(server._variables(ports))
    elsewhere = {name for name, value in expected.items() if value in map(str, ports.values()) and "PORT" in name}
    elsewhere |= {"PERSISTENCE_DATA_PATH", "AUTHENTICATION_APIKEY_ALLOWED_KEYS", "CLUSTER_BASIC_AUTH_PASSWORD"}
    assert {k: v for k, v in expected.items() if k not in elsewhere} == {
        k: v for k, v in found.items() if k not in elsewhere
    }
    keys = dict(line.split("=", 1) for line in (secrets / "weaviate.env").read_text().splitlines())
    users = found["AUTHENTICATION_APIKEY_USERS"].split(",")
    given = dict(zip(users, keys["AUTHENTICATION_APIKEY_ALLOWED_KEYS"].split(","), strict=True))
    for user in ("admin", "worker", "reader"):
        assert given[f"millrace-{user}"] == (secrets / f"weaviate-{user}").read_text()


def _listening() -> dict[str, set[int]]:
    """Ports that each service listens on, as its own configuration says."""
    kafka = SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"]
    weaviate = " ".join(SERVICES["weaviate"]["entrypoint"])
    images = ROOT / "infra" / "images"
    registry = (images / "registry" / "serve.sh").read_text()
    triton = (images / "triton" / "serve.sh").read_text()
    connect = (images / "connect" / "worker.properties").read_text()

    def port(pattern: str, text: str) -> int:
        return int(re.search(pattern, text)[1])  # type: ignore[index]

    return {
        "kafka": {int(each) for each in re.findall(r"//0\.0\.0\.0:(\d+)", kafka)},
        "registry": {port(r"REGISTRY_PORT:-(\d+)", registry)},
        "weaviate": {port(r"--port (\d+)", weaviate), int(SERVICES["weaviate"]["environment"]["GRPC_PORT"])},
        "triton": {port(r"TRITON_GRPC_PORT:-(\d+)", triton)},
        "connect": {port(r"listeners=http://0\.0\.0\.0:(\d+)", connect)},
        "postgres": {5432},
        **MONITORING_PORTS,
    }


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_address_is_one_that_a_service_listens_on(name: str) -> None:
    listening, found = _listening(), 0
    for variable, value in SERVICES[name]["environment"].items():
        for host, port in re.findall(r"\b([a-z]+):(\d+)\b", value):
            assert int(port) in listening[host], f"{name}: {variable} is {value}, {host} listens on {listening[host]}"
            found += 1
    assert found >= 5
    assert SERVICES[name]["environment"]["MILLRACE_REGISTRY__URL"] == url_of("registry:8080")


def test_the_address_that_kafka_gives_its_clients_is_the_one_they_are_told() -> None:
    environment = SERVICES["kafka"]["environment"]
    advertised = dict(each.split("://") for each in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listeners = dict(each.split("://") for each in environment["KAFKA_LISTENERS"].split(","))
    assert advertised["CLIENTS"] == SERVICES["deploy"]["environment"]["MILLRACE_BOOTSTRAP"]
    published, inner = SERVICES["kafka"]["ports"][0].rsplit(":", 1)
    assert advertised["OUTSIDE"] == published
    assert listeners["OUTSIDE"].endswith(f":{inner}")
    assert listeners["CONTROLLER"].startswith("127.0.0.1:")


def test_the_urls_of_the_capture_name_its_services(secrets: Path) -> None:
    url = (secrets / "database-url").read_text()
    postgres = SERVICES["postgres"]["environment"]
    assert url.startswith(f"postgresql://{postgres['POSTGRES_USER']}:")
    assert url.endswith(f"@postgres:5432/{postgres['POSTGRES_DB']}")
    command = SERVICES["postgres"]["command"]
    for parameter in ("wal_level", "max_wal_senders", "max_replication_slots"):
        assert f"{parameter}={POSTGRES_PARAMETERS[parameter]}" in command


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_health_check_asks_a_port_that_is_listened_on(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in JOBS:
        assert check == {"disable": True}
        return
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    text = " ".join(check["test"])
    for port in re.findall(r"(?:127\.0\.0\.1[:/]|http_ready\.sh |ready\.py |-p )(\d+)", text):
        assert int(port) in _listening()[name] | ({8002} if name == "triton" else set()), "8002: metrics, on loopback"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_has_limits_and_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert _mib(limits["memory"]) >= 512
    assert 0 < int(limits["pids"]) <= 512
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert not {"privileged", "network_mode", "pid", "ipc", "userns_mode", "devices"} & set(service)
    if name == "cli":
        assert service["restart"] == "no"
    else:
        assert service["restart"] == ("on-failure:5" if name in JOBS else "unless-stopped")
    assert int(service["logging"]["options"]["max-file"]) > 0


def test_nothing_is_reached_from_outside_but_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"gateway", "kafka", "postgres", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert read_compose()["networks"]["stack"] == {"internal": True}
    for name, service in SERVICES.items():
        assert service["networks"] == (["stack", "outside"] if name in published else ["stack"])


def test_a_container_has_the_time_to_end_that_its_process_takes() -> None:
    drain_s = Settings().worker.drain_timeout_ms / 1000
    for name in OURS - JOBS:
        assert _seconds(SERVICES[name]["stop_grace_period"]) >= drain_s + 10
    assert _seconds(SERVICES["triton"]["stop_grace_period"]) >= TritonServer.grace_s
    for name in ("kafka", "weaviate"):
        assert _seconds(SERVICES[name]["stop_grace_period"]) >= KafkaServer.grace_s


def test_workers_start_after_what_they_need() -> None:
    for name in DEPLOYABLES:
        needs = {other: each["condition"] for other, each in SERVICES[name]["depends_on"].items()}
        assert needs["deploy"] == "service_completed_successfully"
        servers = {"kafka", "registry", "weaviate", "triton"}
        assert {other: needs[other] for other in servers} == dict.fromkeys(servers, "service_healthy")


def test_the_page_on_containers_names_every_service_every_variable_and_the_number_of_secrets() -> None:
    page = (ROOT / "docs" / "how-to" / "run-with-compose.md").read_text()
    always = {
        name for name, service in SERVICES.items() if not service.get("profiles") or service["profiles"] == ["cli"]
    }
    variables = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE.read_text() + GPU.read_text()))
    assert {name for name in always if f"| `{name}` |" not in page} == set()
    assert {name for name in variables if f"`{name}`" not in page} == set()
    assert f"secrets: {len(DRAWN)} drawn" in page
