"""The steps of the demo that close the loop: answers are judged, drift is noticed, questions are asked again."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final

from infra.demo.log import events_of, first_of
from infra.demo.steps import ALLOWANCE, KIM, MARIA, TRAVEL, Demo
from infra.replaying import Overrides, Range, ReplayOptions, replay_questions
from millrace.analytics.making import make_report
from millrace.analytics.masking import stack_finder
from millrace.analytics.report import write_html
from millrace.analytics.summary import AnalysisOptions
from millrace.client import Millrace
from millrace.evaluation.replay_report import write_replay
from millrace.evaluation.replayed import ContextMode, Pair, Replay
from millrace.events.learn import DriftDetected, ExampleCurated, QualityScored, StageAttributed, TrainingRequested
from millrace.positions import Since, Until
from millrace.topics import DRIFT_DETECTED, EXAMPLE_CURATED, QUALITY_SCORED, STAGE_ATTRIBUTED, TRAINING_REQUESTED

MISREAD: Final = "The fair was called off this morning. By when should I give my train seats back?"
RIGHT: Final = "If a trip falls through, cancel it in the portal the same day."
_BATCH: Final = 40
_MOST: Final = 400
_AT_A_TIME: Final = 8
_SHOWN: Final = 4
_SUBJECTS: Final = (
    "the rings of Saturn", "a sourdough starter", "the tides of the Atlantic", "a bassoon", "the Battle of Hastings",
    "a monarch butterfly", "granite", "the moons of Jupiter", "a violin concerto", "photosynthesis", "the Silk Road",
    "a glacier", "the Roman aqueducts", "a comet", "basil", "the Fibonacci numbers", "an octopus", "the aurora",
    "a volcano", "the Rosetta stone",
)  # fmt: skip
_FORMS: Final = (
    "How old is {}?", "Where does {} come from?", "Why is {} famous?", "Who first described {}?", "What colour is {}?",
    "How is {} studied today?", "What do poets say about {}?", "Which museum shows {}?", "How heavy is {}?",
    "What should a child know about {}?", "Is {} dangerous?", "When was {} discovered?", "How long does {} last?",
    "What is {} made of?", "How does one draw {}?", "Which song is about {}?", "What is the best film about {}?",
    "How fast is {}?", "Which country is known for {}?", "What is a good book about {}?",
)  # fmt: skip


async def judge(demo: Demo, millrace: Millrace) -> None:
    """What people say of answers becomes a score, the stage that failed, and an example to learn from."""
    demo.report.begin("one answer is praised, another one corrected")
    good = await demo.put(millrace, ALLOWANCE, KIM)
    await millrace.feedback(good, up=True, user="kim")
    poor = await demo.put(millrace, MISREAD, MARIA)
    await millrace.feedback(poor, correction=RIGHT, user="maria")
    demo.report.say(f"maria: it should have been: {RIGHT}")
    liked = await first_of(millrace, QUALITY_SCORED, QualityScored, _judged(good.correlation_id, "up"))
    scored = await first_of(millrace, QUALITY_SCORED, QualityScored, _judged(poor.correlation_id, "correction"))
    for each in filter(None, (liked, scored)):
        demo.report.say(" ".join((f"score {each.score:.2f}", *each.flags, "for:", each.question)))
    apart = liked is not None and scored is not None and scored.poor and not liked.poor and liked.score > scored.score
    demo.report.check("the praised one scores higher, and the corrected one is poor", apart, "not scored so")

    def corrected(each: StageAttributed | ExampleCurated) -> bool:
        return each.correlation == poor.correlation_id

    revision = scored.revision if scored is not None else 1
    stage = await first_of(
        millrace, STAGE_ATTRIBUTED, StageAttributed, lambda each: corrected(each) and each.revision >= revision
    )
    if stage is not None:
        demo.report.say(f"what failed: {stage.stage}, by the rule {stage.rule}, with {stage.document}")
    named = stage is not None and stage.document == TRAVEL
    demo.report.check("the stage that failed is named, and the page that holds the answer", named, str(stage))
    example = await first_of(millrace, EXAMPLE_CURATED, ExampleCurated, corrected)
    if example is not None:
        demo.report.say(f"example {example.example} from a {example.source}, to {example.split}")
    demo.report.check("the correction is an example to learn from", example is not None, "no example")


def _judged(correlation: str, kind: str) -> Callable[[QualityScored], bool]:
    return lambda each: each.correlation == correlation and each.feedback.get(kind, 0) > 0


async def shift(demo: Demo, millrace: Millrace) -> None:
    """Everybody asks about something else, until that is noticed; then training is requested, once."""
    demo.report.begin("people begin to ask about something else altogether")
    early = await asyncio.to_thread(events_of, millrace, DRIFT_DETECTED, DriftDetected)
    demo.report.check("nothing was noticed before", not early, ", ".join(each.signal for each in early))
    questions, n_asked, noticed = _off_topic(), 0, list[DriftDetected]()
    while not noticed and n_asked < _MOST:
        batch = list(itertools.islice(questions, _BATCH))
        await _ask_all(millrace, batch)
        n_asked += len(batch)
        noticed = await asyncio.to_thread(
            events_of, millrace, DRIFT_DETECTED, DriftDetected, wait_s=1.0 if n_asked < _MOST else 20.0
        )
    for each in noticed[:1]:
        demo.report.say(
            f"after {n_asked} questions: {each.signal} fell from {each.before:.2f} to {each.after:.2f} "
            f"{each.n_since} answers ago"
        )
    demo.report.check("drift is detected", bool(noticed), f"not within {n_asked} questions")
    wanted = await first_of(millrace, TRAINING_REQUESTED, TrainingRequested, lambda _: True)
    if wanted is not None:
        n_records = sum(part.stop - part.start for part in wanted.ranges)
        demo.report.say(f"training of the {wanted.model} is requested, from {n_records} records")
    n_wanted = len(await asyncio.to_thread(events_of, millrace, TRAINING_REQUESTED, TrainingRequested))
    demo.report.check("training is requested once", n_wanted == 1, f"{n_wanted} times")


def _off_topic() -> Iterator[str]:
    """Questions about nothing in the handbook, no two of a batch alike."""
    for turn in range(len(_FORMS)):
        for at, subject in enumerate(_SUBJECTS):
            yield _FORMS[(at + turn) % len(_FORMS)].format(subject)


async def _ask_all(millrace: Millrace, questions: list[str]) -> None:
    places = asyncio.Semaphore(_AT_A_TIME)

    async def ask(question: str) -> None:
        async with places:
            await millrace.ask(question, user="visitor", groups=("staff",))

    await asyncio.gather(*map(ask, questions))


async def ask_again(demo: Demo, millrace: Millrace) -> None:
    """The questions of the beginning, replayed in the corpus of then and in that of now."""
    demo.report.begin("replay: the questions of the beginning, in the corpus of then and in that of now")
    then = await _replayed(demo, millrace, "at_watermark")
    n = len(then.pairs)
    demo.report.say(f"as of then: {_counts(then)}")
    identical = n > 0 and then.verdicts["identical"] == n
    demo.report.check(f"all {n} answers are identical", identical, f"{_counts(then)}; {dict(then.incomplete)}")
    now = await _replayed(demo, millrace, "now")
    demo.report.say(f"as of now: {_counts(now)}")
    others = [pair for pair in now.compared if pair.verdict != "identical"]
    for pair in others[:_SHOWN]:
        why = ", ".join(f"{reason} {n}" for reason, n in sorted(pair.changes.items())) or "other sentences"
        demo.report.say(f"  {pair.question}  ({why})")
    explained = bool(others) and all(pair.changes for pair in others if _read_otherwise(pair))
    demo.report.check("what differs has its reason: edited, deleted, revoked, or come since", explained, _counts(now))
    demo.report.check(
        "the edited page is among it", any(pair.question == ALLOWANCE for pair in others), f"{len(others)} differ"
    )
    page = demo.folder.parent / "replay.html"
    await asyncio.to_thread(write_replay, now, page)
    demo.report.say(f"report: {page}")


async def _replayed(demo: Demo, millrace: Millrace, context: ContextMode) -> Replay:
    began_ms, ended_ms = demo.asked_ms
    wanted = Range(start=Since(began_ms), stop=Until(ended_ms), tenant=millrace.tenant, limit=0)
    overrides = Overrides.read(demo.folder.parent, ())
    options = ReplayOptions(context=context, rate=0, asked="the beginning of the demo")
    return await replay_questions(millrace.connection, overrides, wanted, options)


def _counts(replay: Replay) -> str:
    found = [f"{n} {verdict}" for verdict, n in replay.verdicts.items() if n]
    return ", ".join([*found, *(f"{n} not compared ({reason})" for reason, n in replay.incomplete.items())])


def _read_otherwise(pair: Pair) -> bool:
    return pair.then is not None and pair.now is not None and pair.then.chunks != pair.now.chunks


async def report_on_questions(demo: Demo, millrace: Millrace) -> None:
    """What was asked, by topic, and what the handbook does not answer."""
    demo.report.begin("report: what people asked")
    now_us = time.time_ns() // 1000
    asked = (demo.asked_ms[0] * 1000, now_us)
    found = await asyncio.to_thread(
        make_report,
        millrace.connection,
        asked,
        AnalysisOptions(least_people=1),
        tenants=(millrace.tenant,),
        find=stack_finder(),
    )
    page = demo.folder.parent / "report.html"
    await asyncio.to_thread(write_html, found, page)
    [tenant] = found.tenants or [None]
    missing = tenant.unanswered if tenant is not None else ()
    for each in missing[:_SHOWN]:
        demo.report.say(f"not answered: {each.n} about {each.name}")
    demo.report.say(f"report: {page}")
    demo.report.check("it names what the handbook does not answer", bool(missing), "nothing is named")
