"""P1 and P2: what an event costs on its way through an agent, and through an agent that answers each with another."""

from typing import Literal

import msgspec

from bench.contenders.job import Job
from bench.lab import Lab, last_core
from bench.measure import Check, Outcome, cpu_ratio, interleaved, medians, rate_ratios
from bench.readings import EVENTS, ReadingTaken, reading_topic, readings
from millrace.codec import Codec


async def consume(lab: Lab) -> Outcome:
    """P1: consume, decode, handle by doing nothing."""
    n, n_faust = lab.size(80_000, 2_000), lab.size(20_000, 2_000)
    job = _prefilled(lab, n)
    slow = Job(bootstrap=job.bootstrap, source=job.source, n=n_faust, warm_up=job.warm_up, core=job.core)
    samples = await interleaved(
        {
            "bare": lab.contender("bare", job),
            "millrace": lab.contender("millrace", job),
            "millrace, a coroutine": lab.contender("millrace", msgspec.structs.replace(job, agent="coroutine")),
            "faust": lab.contender("faust_agent", slow),
        },
        lab.repetitions,
    )
    bare = rate_ratios(samples["millrace"], samples["bare"])
    faust = rate_ratios(samples["millrace"], samples["faust"])
    return Outcome(
        checks=(
            Check(id="P1", what="against aiokafka getmany + fastavro", relation=">=", limit=0.5, unit="x", values=bare),
            Check(id="P1", what="against Faust's agent loop", relation=">=", limit=5.0, unit="x", values=faust),
        ),
        numbers={**medians(samples), "CPU of bare / CPU of millrace": cpu_ratio(samples["millrace"], samples["bare"])},
        notes=(
            f"{n} small Avro events with CloudEvents headers in 4 partitions ({n_faust} for Faust); each "
            "contender in a process of its own on one core; the first events are not timed. The bare loop has "
            "no group, commits nothing and looks at no header. Millrace runs with default settings: it checks "
            "key, tenant and type, keeps order per key, commits completed prefixes. Its agent is a plain function; "
            "the line of a coroutine has one that never waits."
        ),
    )


async def transform(lab: Lab) -> Outcome:
    """P2: the same with one output event per input, all acknowledged."""
    n = lab.size(40_000, 2_000)
    job = _prefilled(lab, n, sink=lab.create_topic("bench.checked"))
    headers = Job(
        bootstrap=job.bootstrap, source=job.source, sink=job.sink, n=n, warm_up=job.warm_up, core=job.core,
        headers=True,
    )  # fmt: skip
    samples = await interleaved(
        {
            "bare": lab.contender("bare", job),
            "millrace": lab.contender("millrace", job),
            "millrace, a coroutine": lab.contender("millrace", msgspec.structs.replace(job, agent="coroutine")),
            "bare with headers": lab.contender("bare", headers),
        },
        lab.repetitions,
    )
    bare = rate_ratios(samples["millrace"], samples["bare"])
    return Outcome(
        checks=(
            Check(
                id="P2",
                what="against the bare loop, its sends pipelined",
                relation=">=",
                limit=0.5,
                unit="x",
                values=bare,
            ),
        ),
        numbers={**medians(samples), "CPU of bare / CPU of millrace": cpu_ratio(samples["millrace"], samples["bare"])},
        notes=(
            f"{n} events; each output is an event of its own with a derived id, and the time ends with the last "
            "acknowledgement. Both producers are idempotent, with acks=all and no linger. The bare loop sends the "
            "events of one fetch before it awaits those of the fetch before, and writes no headers; its rate with "
            "as many headers as Millrace writes stands beside."
        ),
    )


async def traces(lab: Lab) -> Outcome:
    """T1: what spans cost: none exported, all sampled away at the first hop, all exported."""
    n = lab.size(40_000, 2_000)
    job = _prefilled(lab, n, sink=lab.create_topic("bench.traced"))
    variants: dict[str, Literal["off", "none", "all"]] = {
        "export off": "off", "export on, none sampled": "none", "export on, all sampled": "all"
    }  # fmt: skip
    samples = await interleaved(
        {name: lab.contender("millrace", msgspec.structs.replace(job, traces=kind)) for name, kind in variants.items()},
        lab.repetitions,
    )
    off, none, everything = (samples[name] for name in variants)
    return Outcome(
        checks=(
            Check(
                id="T1",
                what="export on, every event sampled away at its first hop, against off",
                relation=">=",
                limit=0.5,
                unit="x",
                values=rate_ratios(none, off),
            ),
            Check(
                id="T1",
                what="export on, every event with a span, against off",
                relation=">=",
                limit=0.2,
                unit="x",
                values=rate_ratios(everything, off),
            ),
        ),
        numbers={
            **medians(samples),
            "CPU of off / CPU of none sampled": cpu_ratio(none, off),
            "CPU of off / CPU of all sampled": cpu_ratio(everything, off),
        },
        notes=(
            f"{n} events with one output each, as in P2, by a plain function: the dearest case, because there is "
            "nothing but the way. With export off no code of tracing runs: the pump has an invoker that knows nothing "
            "of it. Spans go into an exporter that forgets them, so the collector is not part of it; a question has "
            "about a dozen spans, and an ingested document six."
        ),
    )


def _prefilled(lab: Lab, n: int, sink: str = "") -> Job:
    topic = reading_topic(lab.create_topic("bench.taken"), ReadingTaken)
    lab.fill(topic, readings(n), Codec(EVENTS))
    return Job(
        bootstrap=lab.bootstrap, source=topic.name, sink=sink, n=n, warm_up=min(5_000, n // 10), core=last_core()
    )
