"""Start the replicas of the gateway, and know where they listen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from infra.launch.stack import Stack, write_stack
from infra.launch.workers import read_report, start_worker, wait_ready
from infra.settings import Loaded, Settings


def start_gateways(loaded: Loaded, stack: Stack) -> Stack:
    """Start the replicas that are missing; each is in ``stack.json`` before the next one starts."""
    running = {record.name for record in stack.processes}
    for number in range(1, loaded.settings.gateway.count + 1):
        if (name := f"gateway-{number}") not in running:
            record = start_worker(loaded, name, (sys.executable, "-m", "infra", "gateway"))
            stack = replace(stack, processes=(*stack.processes, record))
            write_stack(stack)
    return stack


def wait_gateways(settings: Settings, stack: Stack, progress: Callable[[str], None]) -> Stack:
    """Wait until all replicas take requests, and write down where; errors as of `wait_ready`."""
    if not stack.gateways:
        return stack
    wait_ready(settings.home, stack.gateways, settings.worker.ready_timeout_s)
    ports = {record.name: {"http": read_report(settings.home, record).port} for record in stack.gateways}
    stack = replace(stack, ports={**stack.ports, **ports})
    write_stack(stack)
    for found in ports.values():
        progress(f"gateway ready at {gateway_url(settings, found['http'])}")
    return stack


def gateway_url(settings: Settings, port: int) -> str:
    """Address of a replica on this machine."""
    host = settings.gateway.host
    name = f"[{host}]" if ":" in host else host
    return f"http{'s' if settings.gateway.tls_cert else ''}://{name}:{port}"
