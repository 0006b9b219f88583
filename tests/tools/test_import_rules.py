"""Laws of who may import what: each rule is shown to refuse a module that breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.source_files import ROOT

PACKAGES = ("millrace", "streams", "agents", "inference", "gateway", "infra")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a checker of this environment in `folder`."""
    program = Path(sys.executable).parent / command[0]
    return subprocess.run([program, *command[1:]], cwd=folder, check=False, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make empty packages under the project's own rules."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""Empty."""\n', encoding="utf-8")
    shutil.copy(ROOT / "agents" / "ruff.toml", tmp_path / "agents")
    return tmp_path


def test_packages_that_import_nothing_break_no_rule(tree: Path) -> None:
    result = run(tree, "lint-imports", "--no-cache", "--no-logo")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("millrace", "streams"),
        ("millrace", "infra"),
        ("streams", "agents"),
        ("streams", "inference"),
        ("inference", "streams"),
        ("inference", "infra"),
        ("agents", "streams"),
        ("agents", "inference"),
        ("agents", "infra"),
        ("agents", "gateway"),
        ("gateway", "agents"),
        ("gateway", "infra"),
        ("streams", "gateway"),
        ("agents", "aiokafka"),
        ("agents", "confluent_kafka"),
        ("agents", "faust"),
        ("agents", "lancedb"),
        ("agents", "os"),
        ("agents", "random"),
        ("agents", "time"),
    ],
)
def test_an_import_that_the_layout_forbids_is_refused(tree: Path, importer: str, imported: str) -> None:
    (tree / importer / "intruder.py").write_text(f"import {imported}\n", encoding="utf-8")
    result = run(tree, "lint-imports", "--no-cache", "--no-logo")
    assert result.returncode != 0
    assert f"{importer}.intruder -> {imported}" in result.stdout


def test_an_agent_that_reaches_faust_through_the_sdk_is_refused(tree: Path) -> None:
    (tree / "millrace" / "app.py").write_text("import faust\n", encoding="utf-8")
    (tree / "agents" / "intruder.py").write_text("import millrace.app\n", encoding="utf-8")
    result = run(tree, "lint-imports", "--no-cache", "--no-logo")
    assert result.returncode != 0
    assert "millrace.app -> faust" in result.stdout


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("agents", "from uuid import uuid4"),
        ("agents", "from datetime import datetime as when; now = when.now()"),
        ("streams", "from uuid import uuid4"),
        ("streams", "from unittest.mock import patch"),
    ],
)
def test_a_name_that_the_style_bans_is_refused(tree: Path, package: str, line: str) -> None:
    (tree / package / "intruder.py").write_text(f"{line}\n", encoding="utf-8")
    result = run(tree, "ruff", "check", "--no-cache", "--select", "TID251", ".")
    assert result.returncode != 0
    assert "is banned" in result.stdout


def test_importing_every_agent_loads_neither_faust_nor_a_client() -> None:
    code = """
import importlib, pkgutil, sys
import agents
for module in pkgutil.walk_packages(agents.__path__, "agents."):
    importlib.import_module(module.name)
clients = {"faust", "mode", "aiokafka", "confluent_kafka", "lancedb", "pyarrow", "obstore", "onnxruntime", "sqlite3"}
print(*sorted(clients & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
