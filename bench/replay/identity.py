"""Whether a question asked again at its watermark finds the chunks that it found, and what neighbours miss of them."""

import asyncio
import time
from pathlib import Path

import msgspec

from bench.measure import Check, Outcome
from bench.replay.recording import CHANGED, TENANT, Recorded
from infra.replaying import Overrides, Range, ReplayOptions, replay_questions
from infra.replaying.session import opened
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.evaluation.replayed import Replay
from streams.recorded.questions import read_recording

OPEN_SEARCH = ("query.exact_below_chunks=0", "query.restrict_below_documents=0")


def overrides_of(connection: Connection, *changed: str, hashing: bool) -> Overrides:
    """Settings of the stack under measurement."""
    return Overrides.read(Path(connection.home), [*changed, *(["models.embedder=hashing"] if hashing else [])])


async def identity(connection: Connection, recorded: Recorded, *, hashing: bool) -> Outcome:
    """Ask all again at their watermarks, then as of now."""
    overrides = overrides_of(connection, hashing=hashing)
    wanted = Range(tenant=TENANT, limit=len(recorded.questions))
    then = await replay_questions(connection, overrides, wanted, ReplayOptions(rate=0, yields=False))
    now = await replay_questions(connection, overrides, wanted, ReplayOptions(context="now", rate=0, yields=False))
    same = _same(then)
    return Outcome(
        checks=(
            Check(id="P10", what="questions with identical chunk ids at their watermarks, exact mode", relation=">=",
                  limit=0.999, unit="x", values=(same / len(recorded.questions),)),
        ),
        numbers={
            "questions asked again": len(then.pairs),
            "documents": recorded.n_documents,
            "documents changed meanwhile": recorded.n_changes,
            "not compared at the watermark": then.incomplete.total(),
            "identical answers at the watermark": then.verdicts["identical"],
            "identical chunk ids as of now": _same(now),
            "not compared as of now": now.incomplete.total(),
            "chunks that differ as of now, by reason": dict(now.changes),
            "questions a second, with opening": round(len(then.pairs) / then.seconds, 1),
        },
        notes=(
            f"{len(recorded.questions)} questions of XQuAD and PolicyQA, asked in exact mode by the real client over "
            f"the real agents while {CHANGED:.0%} of the documents were edited or deleted one after the other; a "
            "question that could not be asked again counts as not identical."
        ),
    )  # fmt: skip


def _same(replay: Replay) -> int:
    sides = [(pair.then.chunks, pair.now.chunks) for pair in replay.compared if pair.then and pair.now]
    return sum(then == now for then, now in sides if then)  # finding nothing twice proves nothing


async def recall(connection: Connection, recorded: Recorded, *, hashing: bool) -> Outcome:
    """Ask again as if exact mode had not been wanted, and count what of the exact result is found."""
    overrides = overrides_of(connection, *OPEN_SEARCH, hashing=hashing)
    codec = codec_of(connection)
    wanted = Range(tenant=TENANT, limit=len(recorded.questions))
    recording = await asyncio.to_thread(read_recording, connection, wanted, codec=codec)
    shares: list[float] = []
    times: list[float] = []
    async with opened(connection, overrides, recording.questions, "at_watermark", codec) as asker:
        for question in recording.questions:
            near = msgspec.structs.replace(question, received=question.received.replace(exact=False))
            began = time.perf_counter()
            pair = await asker.ask(near)
            times.append((time.perf_counter() - began) * 1000)
            if pair.then and pair.now and pair.then.chunks and not pair.now.exact:
                shares.append(len(set(pair.then.chunks) & set(pair.now.chunks)) / len(pair.then.chunks))
    return Outcome(
        checks=(),
        numbers={
            "approximate mode at the watermark: recall of the exact result": round(
                sum(shares) / max(len(shares), 1), 4
            ),
            "approximate mode: questions": len(shares),
            "approximate mode: not compared": len(recording.questions) - len(shares),
            "approximate mode: questions with all of the exact result": sum(share == 1 for share in shares),
            "approximate mode: ms a question, mean": round(sum(times) / len(times), 1),
        },
        notes=(
            "Recall compares the ten chunks of the recorded exact search with those of a search by neighbours and "
            "words over live and archived rows, at the same watermark."
        ),
    )
