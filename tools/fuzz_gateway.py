"""``python -m tools.fuzz_gateway --cases 10000``: requests made from its OpenAPI description, at a gateway of its own.

Valid and invalid ones, with and without credentials, as JSON and as streams. No answer may be a 500, 502 or 504, a 503
says when to come again, and every answer is one that the description knows.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infra.launch.gateways import gateway_url
from infra.launch.up import down, up
from infra.settings import load

CHECKS: Final = (status_code_conformance, content_type_conformance, response_schema_conformance)
BROKEN: Final = frozenset({500, 502, 504})
PEOPLE: Final = ({"name": "ada", "tenant": "acme", "groups": ["staff"]}, {"name": "eve", "tenant": "umbrella"})
_CREDENTIALS: Final = ("Authorization", "X-API-Key")
_OWN_CREDENTIALS: Final = 0.95
"""How often a request goes without the made-up credentials that the description leads to."""
_CALL_S: Final = 30.0
_UNLIMITED: Final = {
    "requests_per_minute": 0,
    "tokens_per_minute": 0,
    "documents_per_minute": 0,
    "question_timeout_s": 2.0,
}


@dataclass
class Found:
    """What came back.

    Attributes
    ----------
    statuses : Counter of (str, int)
        Answers by operation and status.
    wrong : list of str
        What must not have been.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def n_cases(self) -> int:
        """Requests that were made."""
        return self.statuses.total()


def fuzz(url: str, credentials: Sequence[Mapping[str, str]], n_cases: int, seed: int = 1) -> Found:
    """Make requests of every operation, the same number of each.

    Parameters
    ----------
    url : str
        A gateway.
    credentials : sequence of mapping
        Headers of callers; they take turns.
    n_cases : int
        About how many requests.
    seed : int
        Chooses them.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]  # described by us
    per_mode = max(1, n_cases // (2 * len(operations)))
    found = Found()
    for operation in operations:
        for mode in GenerationMode:
            _run(found, url, credentials, (operation, mode), per_mode, seed)
    return found


def _run(
    found: Found, url: str, credentials: Sequence[Mapping[str, str]], job: tuple[Any, Any], n: int, seed: int
) -> None:
    operation, mode = job
    chance = random.Random(f"{seed} {operation.label} {mode}")  # noqa: S311 - a seeded choice of requests
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except Exception as error:  # noqa: BLE001 - an operation without parameters has no invalid requests
        if mode is GenerationMode.POSITIVE:
            found.wrong.append(f"{operation.label}: no requests can be made: {error}")
        return

    @hypothesis.settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.seed(seed)
    @hypothesis.given(case=strategy)
    def each(case: Any) -> None:
        headers = dict(chance.choice(credentials))
        if chance.random() < _OWN_CREDENTIALS:
            for name in _CREDENTIALS:
                (case.headers or {}).pop(name, None)
        if chance.random() < 0.3:
            headers["Accept"] = "text/event-stream"
        _look(found, operation.label, case, url, headers)

    try:
        each()
    except hypothesis.errors.Unsatisfiable:
        return


def _look(found: Found, label: str, case: Any, url: str, headers: Mapping[str, str]) -> None:
    try:
        response = case.call(base_url=url, headers=headers, timeout=_CALL_S)
    except requests.exceptions.InvalidHeader:
        return  # a header that no client can send
    except requests.exceptions.RequestException as error:
        found.wrong.append(f"{label}: {type(error).__name__}: {error}")
        return
    found.statuses[label, response.status_code] += 1
    if response.status_code in BROKEN:
        found.wrong.append(f"{label}: {response.status_code} for {case.as_curl_command()[:600]}")
    elif response.status_code == 503 and "retry-after" not in response.headers:
        found.wrong.append(f"{label}: 503 without Retry-After")
    else:
        try:
            case.validate_response(response, checks=CHECKS)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - failures come in groups
            found.wrong.append(f"{label}: {response.status_code}: {str(error)[:400]}")


@contextmanager
def started(home: Path) -> Iterator[str]:
    """A stack on the embedded broker with a worker and a gateway; gives the gateway's address."""
    flags = {
        "home": str(home),
        "profile": "embedded",
        "models": {"embedder": "hashing"},
        "worker": {"count": 1},
        "gateway": {"count": 1, "people": list(PEOPLE), "limits": _UNLIMITED},
    }
    loaded = load(flags, home / "none")
    try:
        stack = up(loaded).stack
        yield gateway_url(loaded.settings, stack.ports["gateway-1"]["http"])
    finally:
        down(loaded.settings)


def credentials() -> list[dict[str, str]]:
    """Callers of two tenants, and nobody."""
    return [
        {"X-Demo-Person": "ada"},
        {"X-Demo-Person": "ada"},
        {"X-Demo-Person": "eve"},
        {"X-Demo-Person": "nobody"},
        {},
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print a table of answers, and exit 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="millrace-fuzz-") as folder, started(Path(folder) / "home") as url:
        found = fuzz(url, credentials(), chosen.cases, chosen.seed)
    for (label, status), n in sorted(found.statuses.items()):
        print(f"{n:7d}  {status}  {label}")
    print(f"{found.n_cases} requests, {len(found.wrong)} wrong answers")
    for each in sorted(set(found.wrong))[:50]:
        print(each)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
