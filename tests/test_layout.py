"""Laws about what is checked in: locks that can be trusted and modules that keep to their limits."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("stack.txt", "dev.txt", "weights.txt")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>\S+)(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})*)$")


def pins(lock: str) -> dict[str, Version]:
    """Read a lock file; fail on a line that is not a pin with at least one hash."""
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, Version] = {}
    for line in text.splitlines():
        requirement = line.split(" #")[0].rstrip()
        if not requirement or requirement.lstrip().startswith("#"):
            continue
        pin = PIN.match(requirement)
        assert pin is not None, f"{lock}: not an exact pin: {requirement[:120]!r}"
        assert pin["hashes"], f"{lock}: {pin['name']} has no hash"
        found[canonicalize_name(pin["name"])] = Version(pin["version"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_exactly_and_hashed(lock: str) -> None:
    assert pins(lock)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_address_and_no_folder(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    options = re.findall(r"^\s*--(?!hash=)\S+", text, flags=re.MULTILINE)
    assert options == []
    assert "://" not in text
    assert re.findall(r"(?:^|\s)/\S+", text) == []


def test_the_test_lock_contains_the_stack_lock_version_for_version() -> None:
    stack, dev = pins("stack.txt"), pins("dev.txt")
    assert {name: dev.get(name) for name in stack} == stack


@pytest.mark.parametrize(("lock", "group"), [("stack.txt", "stack"), ("dev.txt", "dev")])
def test_the_lock_satisfies_every_requirement_that_the_project_states(lock: str, group: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    stated = [entry for entry in (*groups[group], *groups["stack"]) if isinstance(entry, str)]
    locked = pins(lock)
    for requirement in map(Requirement, (*project["project"]["dependencies"], *stated)):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in {lock}: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} but {lock} has {version}: run make lock"


def test_the_pump_stays_small_enough_to_be_read_in_one_sitting() -> None:
    pump = ROOT / "streams" / "pump" / "pump.py"
    assert len(pump.read_text(encoding="utf-8").splitlines()) < 400
