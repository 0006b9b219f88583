"""Laws about the wheel: the SDK and the contract, nothing of the stack, and usable by itself."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

# Runs without the site module: no .pth file, so the checkout is not on the path, and only the wheel and the installed
# third-party packages are.
IMPORT_EVERYTHING = """
import importlib, importlib.util, pkgutil, sys
sys.path[:0] = sys.argv[1:]
import millrace
assert millrace.__file__.startswith(sys.argv[1]), millrace.__file__
for name in ("streams", "agents", "inference", "gateway", "infra"):
    found = importlib.util.find_spec(name)
    assert found is None, f"{name} is importable from {found.origin}"
for module in pkgutil.walk_packages(millrace.__path__, "millrace."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this checkout, without a network."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return path


def names(wheel: Path) -> list[str]:
    """List what is in the wheel beside its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")]


def metadata(wheel: Path, entry: str) -> bytes:
    """Read one file of the wheel's metadata folder."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f".dist-info/{entry}"))
        return archive.read(name)


def test_the_wheel_holds_the_sdk_and_nothing_else(wheel: Path) -> None:
    contents = names(wheel)
    assert "millrace/__init__.py" in contents
    strangers = [name for name in contents if not name.startswith("millrace/")]
    assert strangers == []
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "millrace").rglob("*.py")}
    assert {name for name in contents if name.endswith(".py")} == sources


def test_the_wheel_carries_the_committed_contract_byte_for_byte(wheel: Path) -> None:
    schemas = ROOT / "schemas"
    committed = [*schemas.rglob("*.avsc"), schemas / "lock.json"]
    expected = {f"millrace/schemas/{path.relative_to(schemas).as_posix()}": path.read_bytes() for path in committed}
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name: archive.read(name) for name in names(wheel) if name.startswith("millrace/schemas/")}
    assert len(shipped) > 1
    assert shipped == expected


def test_the_wheel_carries_the_template_of_the_report(wheel: Path) -> None:
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "millrace").rglob("*.jinja")}
    assert templates
    assert templates <= set(names(wheel))


def test_the_wheel_needs_only_what_the_sdk_imports(wheel: Path) -> None:
    header: Message = message_from_bytes(metadata(wheel, "METADATA"))
    requirements = [Requirement(line) for line in header.get_all("Requires-Dist", [])]
    needed = {requirement.name for requirement in requirements if requirement.marker is None}
    assert needed == {"aiokafka", "confluent-kafka", "fastavro", "msgspec", "numpy", "rich", "typer"}
    assert header["License-Expression"] == "Apache-2.0"


def test_the_wheel_brings_the_command_and_its_license(wheel: Path) -> None:
    assert b"millrace = millrace.cli:main" in metadata(wheel, "entry_points.txt")
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_imports_where_the_stack_is_absent(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    command = [sys.executable, "-I", "-S", "-c", IMPORT_EVERYTHING, str(tmp_path / "site"), *sorted(installed)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
