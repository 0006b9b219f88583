"""E7: secrets seeded in settings, addresses, exceptions and headers stand in no log, span, dead letter or report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import find_connection
from millrace.reader import LogReader
from tests.conditions import wait_until
from tests.faults.harness import FaultStack, embedded_stack
from tests.spans import Receiver
from tests.system.leaking_agents import GIVEN, HOW, SecretGiven

SEEDED: dict[str, Any] = {
    "triton__key": "triton-4711-Zq8",
    "kafka__sasl_password": "kafka+4712/Zq8=",
    "telemetry__headers": "x-key=collector-4713-Zq8",
    "capture__database_url": "postgresql://millrace:database-4714-Zq8@db.example.org/x",
}
PIECES = ("triton-4711", "kafka+4712", "kafka%2B4712", "collector-4713", "database-4714")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[FaultStack]:
    with embedded_stack(tmp_path / "home") as found:
        yield found


async def told(stack: FaultStack, *, kind: str, without: str = "") -> dict[str, str]:
    """Everything that a worker says while its agent tells secrets in every way, by where it says it."""
    with Receiver.running() as receiver:
        worker = stack.start(
            agents=["tests.system.leaking_agents"],
            without=without,
            telemetry__export="true",
            telemetry__endpoint=receiver.endpoint,
            telemetry__interval_s="0.1",
            logs__format=kind,
            **SEEDED,
        )
        connection = find_connection(home=stack.home)
        async with Millrace(connection, tenant="acme", timeout_s=30.0, codec=Codec((SecretGiven,))) as millrace:
            for how in HOW:
                await millrace.produce(SecretGiven(tenant="acme", how=how), GIVEN)

        def letters() -> list[str]:
            with LogReader(connection, [GIVEN.dead_letters]) as reader:
                return [str(record.headers) for record in reader]

        wait_until(lambda: len(letters()) == 3, 60)
        spans = receiver.until(lambda found: sum(span.name == "dead letter" for span in found) == 3)
        code, _ = worker.stop()
        assert code == 0
        return {
            "log": worker.log.read_text(),
            "report": str(worker.report()),
            "spans": " ".join(span.text for span in [*spans, *receiver.spans]),
            "dead letters": " ".join(letters()),
        }


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ["text", "json"])
async def test_no_secret_is_told_though_an_agent_does_its_best(stack: FaultStack, kind: str) -> None:
    found = await told(stack, kind=kind)
    assert found["log"].count("[secret]") > 20
    assert "cannot reach the server with" in found["log"], "what happened is still said"
    for where, text in found.items():
        leaked = [piece for piece in PIECES if piece in text]
        assert not leaked, f"{where} tells {leaked}"


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_without_the_mask_the_same_worker_tells_them(stack: FaultStack) -> None:
    found = await told(stack, kind="text", without="redaction")
    for where in ("log", "dead letters"):
        assert any(piece in found[where] for piece in PIECES), f"{where} told nothing: the test would see no leak"
