"""What every test may use, which modules come first, and failures told when they happen."""

import faulthandler

import hypothesis
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

_TEARDOWN_S = 240.0

# A busy machine breaks no law.
hypothesis.settings.register_profile("millrace", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("millrace")

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


class Told:
    """Names failed tests at once, for a run that is cut short before the closing report."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            reason = report.longreprtext.strip().splitlines()
            self._terminal.ensure_newline()
            self._terminal.write_line(
                f"FAILED {report.nodeid} ({report.when}): {reason[-1] if reason else ''}", red=True
            )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only where results are printed, not in the processes that run the tests."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Told(terminal))


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """End the process of a failed test that cannot be torn down; `faulthandler_timeout` holds until a failure only."""
    if isinstance(node, pytest.Item):
        stderr = node.config.stash[fault_handler_stderr_fd_key]
        faulthandler.dump_traceback_later(_TEARDOWN_S, exit=True, file=stderr)
