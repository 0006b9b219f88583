"""What every test may use."""

pytest_plugins = ["tests.brokers", "tests.faults.report"]
