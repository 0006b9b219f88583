"""Ingest of a corpus against LlamaIndex and Haystack: the same documents, splitter, model and kind of store."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec

from bench.ingest import N_PARAGRAPHS, put_all
from bench.lab import Lab
from bench.measure import Contender, Sample
from bench.null_adapters import Counts
from bench.peers.findings import Section, rates
from bench.peers.programs.corpus import Ingested, IngestJob, Page
from bench.peers.running import ROOT, Installed
from bench.peers.turns import in_turns
from bench.stack import running_client
from bench.texts import document, paragraphs
from infra.settings import load, process_environment
from millrace.errors import Unavailable

MILLRACE = "Millrace"
_LIMIT_S = 300
_NOTES = (
    "Markdown documents of ten paragraphs into an empty table of LanceDB, from the first document to the last row. "
    "Everyone uses Millrace's splitter and its MiniLM in int8 on all cores. Millrace embeds each sentence as well "
    "as each chunk, so the peers run twice: as they are, and with the sentences embedded too (and dropped), which "
    "gives the model the same work. The peers take all documents in one call of their pipeline in one process. "
    "Millrace takes them as events: access and change acknowledged by Kafka, two agents, rows and objects written "
    "and verified, each outcome read back by the client. Haystack's store builds a full-text index on top."
)


async def measure(lab: Lab, pipelines: Sequence[Installed]) -> Section:
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
        turns = await in_turns(contenders, lab.repetitions)
    found = rates("ingest", "Ingest of a corpus", _NOTES, turns, MILLRACE, "documents")
    rows = tuple((*row[:3], row[4], str(texts[row[0]]), str(chunks[row[0]])) for row in found.rows)
    columns = (*found.columns[:3], found.columns[4], "texts embedded", "chunks stored")
    return msgspec.structs.replace(found, rows=rows, columns=columns)


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
        raise Unavailable(
            f"{installed.peer.title} ingested {len(job.pages)} documents not within {_LIMIT_S} s"
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Unavailable(f"{installed.peer.title} failed:\n{err.decode(errors='replace')[-1500:]}")
    return msgspec.json.decode(out.splitlines()[-1], type=Ingested)


def _pages(seed: str, n: int) -> tuple[Page, ...]:
    return tuple(Page(f"{seed}/{i}.md", document(paragraphs(f"{seed}/{i}", N_PARAGRAPHS))) for i in range(n))
