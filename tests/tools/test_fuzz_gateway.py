"""A small run of the fuzzing tool, and what it must notice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI, Response

from tests.conditions import wait_until
from tools.fuzz_gateway import credentials, fuzz, started


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        running.join(20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_request_made_from_the_description_breaks_the_gateway(tmp_path_factory: pytest.TempPathFactory) -> None:
    with started(tmp_path_factory.mktemp("fuzz") / "home") as url:
        found = fuzz(url, credentials(), n_cases=200)
    assert found.wrong == []
    assert found.n_cases > 100


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_broken_answer_is_noticed(status: int) -> None:
    app = FastAPI()

    @app.get("/", responses={status: {}})
    def broken() -> Response:
        return Response(status_code=status)

    with served(app) as url:
        found = fuzz(url, [{}], n_cases=4)
    assert found.wrong
    assert all(str(status) in each for each in found.wrong)
