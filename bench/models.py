"""P9 without a GPU: what a model server costs, and how long a question waits while documents are embedded."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psutil

from agents.ports import Embedder
from bench.lab import Lab
from bench.measure import Check, Contender, Outcome, Sample, interleaved, medians, percentile
from bench.texts import paragraphs
from inference.embedder import OnnxEmbedder
from inference.minilm.artefact import Artefact, prepare
from inference.triton import TritonEmbedder
from infra.launch.model_server import PART
from infra.settings import load

_QUESTION = ["When is the upper gate of the lock opened in winter?"]


async def measure(lab: Lab) -> Outcome:
    """Embed the same paragraphs through Triton and in this process; ask questions with and without a full bulk lane."""
    cache = load().settings.cache
    artefact = await asyncio.to_thread(prepare, cache / "models")
    texts = paragraphs("models", lab.size(600, 40))
    n_questions = lab.size(300, 10)
    in_process = OnnxEmbedder(artefact)
    try:
        async with _served(lab, artefact) as (served, server):
            await asyncio.gather(served.embed(texts[:40]), in_process.embed(texts[:40]))
            samples = await interleaved(
                {
                    "Triton": _embedding(served, texts, server),
                    "in-process": _embedding(in_process, texts, None),
                },
                lab.repetitions,
            )
            idle, busy, alone_idle, alone_busy = [], [], [], []
            for _ in range(lab.repetitions):
                idle.append(await _waits(served, n_questions))
                busy.append(await _waits_while(served, n_questions, texts))
                alone_idle.append(await _waits(in_process, n_questions))
                alone_busy.append(await _waits_while(in_process, n_questions, texts))
    finally:
        in_process.close()
    pairs = list(zip(samples["Triton"], samples["in-process"], strict=True))
    p99 = {
        name: [percentile(waits, 0.99) * 1e3 for waits in runs]
        for name, runs in {
            "Triton, idle": idle,
            "Triton, bulk lane full": busy,
            "in-process, idle": alone_idle,
            "in-process, bulk lane full": alone_busy,
        }.items()
    }
    ratios = zip(p99["Triton, bulk lane full"], p99["Triton, idle"], strict=True)
    checks = (
        Check(
            id="P9", what="CPU time per text through Triton against in-process", relation="<=", limit=1.15, unit="x",
            values=tuple(ours.cpu_us / alone.cpu_us for ours, alone in pairs),
        ),
        Check(
            id="P9", what="p99 of a question while the bulk lane is full against idle", relation="<=", limit=1.5,
            unit="x", values=tuple(full / empty for full, empty in ratios),
        ),
    )  # fmt: skip
    numbers = medians(samples, "texts") | {
        f"question, {name}: {what} ms": round(percentile([wait for run in runs for wait in run], share) * 1e3, 1)
        for name, runs in (
            ("Triton, idle", idle),
            ("Triton, bulk lane full", busy),
            ("in-process, idle", alone_idle),
            ("in-process, bulk lane full", alone_busy),
        )
        for what, share in (("p50", 0.5), ("p99", 0.99))
    }
    return Outcome(
        checks=checks,
        numbers=numbers,
        notes=(
            "Processor time is that of this process and of the server with its model processes. The bulk lane is kept "
            "full by this process; both lanes, questions and documents share the machine's processors."
        ),
    )


@asynccontextmanager
async def _served(lab: Lab, artefact: Artefact) -> AsyncIterator[tuple[TritonEmbedder, psutil.Process]]:
    """An embedder behind a server of its own, and the server's process."""
    settings = load({"home": str(lab.new_folder("models"))}).settings
    programs = await asyncio.to_thread(PART.install, settings, lambda line: print(line, file=sys.stderr))
    make = PART.make(settings, "", programs)
    server = await asyncio.to_thread(make(settings.home / PART.name, None, lambda _: None).start)
    try:
        embedder = await TritonEmbedder.open(artefact, server.address("grpc"))
        try:
            yield embedder, psutil.Process(server.process.pid)
        finally:
            await embedder.close()
    finally:
        await asyncio.to_thread(server.stop)


def _embedding(embedder: Embedder, texts: Sequence[str], server: psutil.Process | None) -> Contender:
    async def run() -> Sample:
        cpu, began = _cpu_seconds(server), time.monotonic()
        await embedder.embed(texts)
        return Sample(len(texts), time.monotonic() - began, _cpu_seconds(server) - cpu)

    return run


def _cpu_seconds(server: psutil.Process | None) -> float:
    """Processor time of this process, and of the server with its model processes."""
    processes = [server, *server.children(recursive=True)] if server is not None else []
    times = [process.cpu_times() for process in processes]
    return time.process_time() + float(sum(each.user + each.system for each in times))


async def _waits(embedder: Embedder, n: int) -> list[float]:
    """Seconds of each of `n` questions, one after the other."""
    waits = []
    for _ in range(n):
        began = time.perf_counter()
        await embedder.embed(_QUESTION)
        waits.append(time.perf_counter() - began)
    return waits


async def _waits_while(embedder: Embedder, n: int, texts: Sequence[str]) -> list[float]:
    """The same while documents are embedded all the time."""

    async def embed_on() -> None:
        while True:
            await embedder.embed(texts)

    documents = asyncio.create_task(embed_on())
    try:
        return await _waits(embedder, n)
    finally:
        documents.cancel()
        await asyncio.wait((documents,))
