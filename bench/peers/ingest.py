"""Ingest of a corpus against LlamaIndex and Haystack: the same documents, splitter, model and kind of store."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec

from bench.ingest import N_PARAGRAPHS, put_all
from bench.lab import Lab
from bench.measure import Contender, Sample, interleaved
from bench.null_adapters import Counts
from bench.peers.programs.corpus import IngestJob, Ingested, Page
from bench.peers.running import ROOT, Installed
from bench.stack import running_client
from bench.texts import document, paragraphs
from infra.settings import load, process_environment
from millrace.errors import Unavailable

MILLRACE = "Millrace"
_LIMIT_S = 300


class Ingest(NamedTuple):
    """Samples in documents by contender, and for each one how many texts its model was given and chunks it stored."""

    samples: dict[str, list[Sample]]
    texts: dict[str, int]
    chunks: dict[str, int]


async def measure(lab: Lab, pipelines: Sequence[Installed]) -> Ingest:
    """Ingest in turns; a peer runs twice: as it is, and with every sentence embedded, as Millrace does."""
    pages, warm_up = _pages("corpus", lab.size(100, 6)), _pages("warm-up", 6)
    texts: dict[str, int] = {}
    chunks: dict[str, int] = {}
    counts = Counts()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(running_client(lab, embedder="minilm", adapt=counts.adapt))
        await put_all(client, [(page.id, page.text) for page in warm_up], tenant="warm-up")

        async def ours() -> Sample:
            before = len(counts.calls)
            began = time.perf_counter()
            outcomes = await put_all(client, [(page.id, page.text) for page in pages], tenant=lab.fresh("corpus"))
            seconds = time.perf_counter() - began
            texts[MILLRACE] = sum(map(len, counts.calls[before:]))
            chunks[MILLRACE] = sum(each.n_chunks for each in outcomes)
            return Sample(len(pages), seconds)

        def theirs(installed: Installed, title: str, *, with_sentences: bool) -> Contender:
            async def run() -> Sample:
                job = IngestJob(
                    pages=pages, warm_up=warm_up, folder=str(lab.new_folder(installed.peer.name)),
                    models=str(load().settings.cache / "models"), with_sentences=with_sentences,
                )  # fmt: skip
                found = await _ingested(installed, job)
                texts[title], chunks[title] = found.n_texts, found.n_chunks
                return Sample(len(pages), found.seconds)

            return run

        contenders: dict[str, Contender] = {MILLRACE: ours}
        for each in pipelines:
            contenders[each.peer.title] = theirs(each, each.peer.title, with_sentences=False)
            title = f"{each.peer.title}, sentences too"
            contenders[title] = theirs(each, title, with_sentences=True)
        samples = await interleaved(contenders, lab.repetitions)
    return Ingest(samples, texts, chunks)


async def _ingested(installed: Installed, job: IngestJob) -> Ingested:
    """Run a pipeline in a process of its own.

    Raises
    ------
    Unavailable
        If it fails or takes too long.
    """
    process = await asyncio.create_subprocess_exec(
        str(installed.python), "-m", f"bench.peers.programs.{installed.peer.program}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=process_environment() | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}, cwd=job.folder,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_LIMIT_S):
            out, err = await process.communicate(msgspec.json.encode(job))
    except TimeoutError as error:
        raise Unavailable(f"{installed.peer.title} ingested {len(job.pages)} documents not within {_LIMIT_S} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Unavailable(f"{installed.peer.title} failed:\n{err.decode(errors='replace')[-1500:]}")
    return msgspec.json.decode(out.splitlines()[-1], type=Ingested)


def _pages(seed: str, n: int) -> tuple[Page, ...]:
    return tuple(Page(f"{seed}/{i}.md", document(paragraphs(f"{seed}/{i}", N_PARAGRAPHS))) for i in range(n))
