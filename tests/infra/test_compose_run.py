"""What the containers run, run here: their entry points, variables, secrets and health checks, on the real servers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.launch.workers import report_path
from infra.model_files import write_models
from infra.servers.connect import install_connect
from infra.servers.postgres import PostgresServer, find_postgres, unprivileged
from infra.servers.triton import TritonParts
from infra.settings import load, process_environment
from millrace.errors import ConfigurationError
from tests.brokers import KafkaParts
from tests.capture_chain import client_of
from tests.compose_file import mounted, services
from tests.compose_servers import ComposeConnect, ComposeKafka, ComposeRegistry, ComposeTriton, ComposeWeaviate, drawn
from tests.conditions import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
_READY_S = 120


@dataclass
class Containers:
    """Services of the Compose file as processes: addresses of the network are those on loopback."""

    folder: Path
    secrets: Path
    addresses: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, service: str) -> dict[str, str]:
        """Variables of a service; its home folder and what is mounted into it lie in a folder of its own."""
        spec, own = services()[service], self.folder / service
        for path, name in mounted(spec).items():
            target = own / path.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy(self.secrets / name, target)
        image = {"HOME": own / "home", "OBJECTS": self.folder / "objects", "SECRETS": own / "run" / "secrets"}
        found = {name: self.here(str(value)) for name, value in spec["environment"].items()}
        kept = {name: value for name, value in process_environment().items() if not name.startswith("MILLRACE_")}
        cache = str(load().settings.cache)
        # Containers share neither ports nor a machine.
        alone = {"MILLRACE_TELEMETRY__HEALTH_PORT": "0", "MILLRACE_TELEMETRY__HEALTH_HOST": "127.0.0.1"}
        image_variables = {f"MILLRACE_{k}": str(v) for k, v in image.items()}
        return {**kept, **image_variables, "MILLRACE_CACHE": cache, **found, **alone}

    def here(self, text: str) -> str:
        for there, local in self.addresses.items():
            text = text.replace(there, local)
        return text

    def job(self, service: str) -> str:
        """Run one to its end, and give what it printed."""
        environment, mount = self.environment(service), f"{self.folder}/{service}/run/secrets/"
        arguments = [each.replace("/run/secrets/", mount) for each in services()[service]["command"]]
        command = [sys.executable, "-m", "infra", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, service: str) -> None:
        environment = self.environment(service)
        with (self.folder / f"{service}.log").open("ab") as log:
            self.running[service] = subprocess.Popen(
                [sys.executable, "-m", "infra", *services()[service]["command"]],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def healthy(self, service: str) -> bool:
        """What the container's health check says."""
        assert self.running[service].poll() is None, (self.folder / f"{service}.log").read_text()[-2000:]
        if not report_path(self.folder / service / "home", "worker").exists():
            return False
        _, program, *check = services()[service]["healthcheck"]["test"]
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *check], env=self.environment(service), capture_output=True, timeout=60, check=False
        )
        return done.returncode == 0

    def rewrite(self, secret: str, content: str) -> None:
        """Write a secret of the user's own."""
        (self.secrets / secret).chmod(0o600)
        (self.secrets / secret).write_text(content)

    def end(self) -> None:
        """End what was started."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            assert process.wait(30) == 0
        self.running.clear()

    def millrace(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The service `cli`."""
        spec, environment = services()["cli"], self.environment("cli")
        assert spec["entrypoint"] == ["millrace"]
        return subprocess.run(
            [sys.executable, "-c", "import sys; from millrace.cli import main; sys.exit(main())", *arguments],
            env=environment,
            cwd=self.folder / "cli" / spec["working_dir"].removeprefix("/"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def containers(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_installed: KafkaParts,
    apicurio_installed: dict[str, object],
    weaviate_program: Path,
    triton_parts: TritonParts,
) -> Iterator[Containers]:
    folder = tmp_path_factory.mktemp("compose")
    secrets, repository = drawn(folder / "secrets"), folder / "repository"
    write_models(load().settings, repository, environment=triton_parts.environment)
    common: dict[str, Any] = {"secrets": secrets, "environment": process_environment(), "timeout_s": 120.0}
    java = kafka_installed.java
    servers = (
        ComposeKafka(folder / "kafka", jars=kafka_installed.jars, java=java, **common),
        ComposeRegistry(folder / "registry", program=Path(str(apicurio_installed["program"])), java=java, **common),
        ComposeWeaviate(folder / "weaviate", program=weaviate_program, **common),
        ComposeTriton(folder / "triton", parts=triton_parts, repository=repository, **common),
    )
    with ExitStack() as stack:
        kafka, registry, weaviate, triton = (stack.enter_context(server) for server in servers)
        addresses = {
            "kafka:9092": kafka.address("clients"),
            "registry:8080": registry.address("http"),
            "weaviate:8080": weaviate.address("rest"),
            "weaviate:50051": weaviate.address("grpc"),
            "triton:8001": triton.address("grpc"),
        }
        found = Containers(folder, secrets, addresses)
        yield found
        for process in found.running.values():
            process.kill()
            process.wait(30)


def test_the_stack_answers_from_a_document_as_its_containers_are_started(containers: Containers) -> None:
    said = containers.job("deploy")
    assert "ready for workers" in said
    assert "0 of their rules changed" in containers.job("deploy")
    workers = ("corpus-worker", "query-worker", "learn-worker")
    for service in workers:
        containers.start(service)
    for service in workers:
        wait_until(partial(containers.healthy, service), _READY_S)
    (page := containers.folder / "travel.md").write_text("The hotel limit is 140 euros a night.")
    ingested = containers.millrace("ingest", str(page), "--wait", "--json")
    assert ingested.returncode == 0, ingested.stdout + ingested.stderr
    answer = containers.millrace("ask", "What is the hotel limit?", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "140 euros" in json.loads(answer.stdout)["text"]
    containers.end()


_CAPTURE = """
name = "desk"
[tables."public.notes"]
content = ["body"]
groups = ["*"]
"""


def test_a_row_becomes_a_document_as_the_profile_capture_starts_it(
    containers: Containers, kafka_installed: KafkaParts, tmp_path: Path
) -> None:
    try:
        programs, jars = find_postgres(), install_connect(load().settings.cache)
        unprivileged()
    except ConfigurationError as error:
        pytest.skip(f"change capture not tested: {error}")
    (tmp_path / "capture.toml").write_text(_CAPTURE)
    common: dict[str, Any] = {"environment": process_environment(), "timeout_s": 120.0}
    containers.job("deploy")
    with PostgresServer(tmp_path / "postgres", programs=programs, **common) as postgres:
        with client_of(postgres.url) as client:
            client.execute("CREATE TABLE public.notes (id int PRIMARY KEY, body text)")
            client.execute("INSERT INTO public.notes VALUES (1, 'The train limit is 90 euros a day.')")
        containers.rewrite("database-url", postgres.url)
        containers.addresses["/etc/millrace/capture.toml"] = str(tmp_path / "capture.toml")
        containers.job("capture-deploy")
        connect = ComposeConnect(
            tmp_path / "connect", jars=jars, java=kafka_installed.java, secrets=containers.secrets,
            bootstrap=containers.addresses["kafka:9092"], **common,
        )  # fmt: skip
        with connect:
            containers.addresses["connect:8083"] = connect.address("rest")
            assert "capturing: public.notes" in containers.job("capture")
            for service in ("capture-worker", "query-worker"):
                containers.start(service)
            for service in ("capture-worker", "query-worker"):
                wait_until(partial(containers.healthy, service), _READY_S)
            wait_until(lambda: "90 euros" in containers.millrace("ask", "What is the train limit?").stdout, _READY_S)
            containers.end()


def _cluster_id(folder: Path) -> str:
    lines = (folder / "data" / "meta.properties").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)["cluster.id"]


def test_a_log_keeps_its_id_over_a_restart_and_a_new_one_gets_another(
    kafka_installed: KafkaParts, tmp_path: Path
) -> None:
    parts: dict[str, Any] = {"jars": kafka_installed.jars, "java": kafka_installed.java, "timeout_s": 120.0}
    parts |= {"secrets": drawn(tmp_path / "secrets"), "environment": process_environment()}
    with ComposeKafka(tmp_path / "one", **parts) as node:
        first = _cluster_id(tmp_path / "one")
        node.stop()
        node.start()
        assert _cluster_id(tmp_path / "one") == first
    with ComposeKafka(tmp_path / "other", **parts):
        assert _cluster_id(tmp_path / "other") != first
