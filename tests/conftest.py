"""What every test may use, and which modules come first."""

import pytest

pytest_plugins = [
    "tests.brokers",
    "tests.capture_chain",
    "tests.faults.report",
    "tests.registries",
    "tests.tritons",
    "tests.weaviate_servers",
]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules of long tests, else in random order: no process is left with a long one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("faults")}
    items.sort(key=lambda item: item.path not in long)
