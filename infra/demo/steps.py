"""The steps of the demo: each does one thing that users do, and checks that it shows what it should."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.demo.log import count_embedded, letters_of, version_of, write_raw
from infra.demo.report import Report
from millrace.client import Answer, Millrace
from millrace.evaluation.asking import AskingOptions, ask_all
from millrace.evaluation.measures import requirement
from millrace.evaluation.questions import read_questions
from millrace.evaluation.report import in_words, requirement_in_words, write_html
from millrace.evaluation.run import evaluate, make_run
from millrace.groups import EVERYONE
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion
from millrace.ingest.run import Report as Ingested
from millrace.ingest.watch import Watch
from millrace.topics import SOURCE_CHANGED

HANDBOOK: Final = Path(__file__).parents[2] / "examples" / "handbook"
ACCESS: Final[Mapping[str, str]] = {"everyone": EVERYONE, "finance": "finance", "hr": "hr"}
KIM: Final = {"user": "kim", "groups": ("staff",)}
MARIA: Final = {"user": "maria", "groups": ("staff", "hr")}
TRAVEL, DEVICES, LEAVE = "everyone/travel.md", "everyone/devices.md", "hr/parental-leave.md"
ALLOWANCE: Final = "What is the daily meal allowance abroad?"
STOLEN: Final = "How soon must a stolen laptop be reported?"
WEEKS: Final = "How many weeks of parental leave are paid in full?"
QUESTIONS: Final = (
    (KIM, ALLOWANCE, "58 euros", TRAVEL),
    (KIM, STOLEN, "one hour", DEVICES),
    (KIM, "Who has to approve business class on a flight?", "vice president", TRAVEL),
    (KIM, "How many days a year may I work from another country?", "twenty working days", "everyone/remote-work.md"),
    (KIM, "For how many days can a deleted file be restored?", "thirty-five days", "everyone/security.md"),
    (KIM, "What sum can each of us spend on courses and books?", "1,200 euros a year", "everyone/learning.html"),
    (KIM, "At what time are accounts closed on somebody's last day?", "18:00", "everyone/leaving.docx"),
    (KIM, "On which day of the month are salaries paid?", "25th of the month", "everyone/faq.jsonl"),
    (MARIA, WEEKS, "sixteen weeks", LEAVE),
    (
        MARIA,
        "For how long can somebody be suspended with pay?",
        "twenty working days",
        "hr/disciplinary-procedure.docx",
    ),
    (MARIA, "What is the highest fee that we pay a recruitment agency?", "18 percent", "hr/hiring.md"),
)
NOWHERE: Final = "What is the boiling point of tungsten?"
POISON: Final = b"\x00\xff\xff\xff\xff this is no event"
WATCHED_S: Final = 20.0
REQUIRED: Final = ("recall@5=0.75", "mrr=0.6")
SHOWN: Final = frozenset({"recall@1", "recall@5", "mrr", "sentence_top3", "refused_unanswerable"})


class Demo:
    """The steps, in the order of the summary.

    Attributes
    ----------
    folder : Path
        A working copy of the example handbook.
    asked_ms : (int, int)
        When the questions of the beginning were asked, from and to, in unix milliseconds.
    """

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.folder = folder
        self.asked_ms = (0, 0)
        if folder.exists():
            shutil.rmtree(folder)
        for name in ACCESS:
            shutil.copytree(HANDBOOK / name, folder / name)

    async def ingest(self, millrace: Millrace) -> None:
        """Every page becomes a visible version, for everyone or for one group."""
        self.report.begin("ingest a handbook: 36 pages in nine formats, some for finance or hr alone")
        n_files = sum(path.is_file() for path in self.folder.rglob("*"))
        found = [await self._ingest(millrace, name) for name in ACCESS]
        n_indexed = sum(report.counts()["indexed"] for report in found)
        n_chunks = sum(outcome.n_chunks for report in found for outcome in report.outcomes)
        self.report.check(f"{n_files} pages are indexed, {n_chunks} chunks", n_indexed == n_files, f"{n_indexed} are")

    async def ask(self, millrace: Millrace) -> None:
        """Answers quote the right page, to those who may read it."""
        self.report.begin("two people ask: kim, and maria of hr")
        began_ms = time.time_ns() // 1_000_000
        for who, question, expected, document in QUESTIONS:
            answer = await self.put(millrace, question, who)
            self.report.check(
                f"quotes {document}: {expected!r}", _quotes(answer, expected, document), answer.text[:120]
            )
        answer = await self.put(millrace, NOWHERE, KIM)
        self.report.check("says so when the corpus holds no answer", not answer.found, answer.text[:120])
        answer = await self.put(millrace, WEEKS, KIM)
        self.report.check("kim does not see what is for hr", not _cites(answer, LEAVE), answer.text[:120])
        self.asked_ms = (began_ms, time.time_ns() // 1_000_000)

    async def measure(self, millrace: Millrace) -> None:
        """What `millrace eval` says of the handbook's 60 questions."""
        self.report.begin("measure: 60 questions whose answers are known")
        path, options = HANDBOOK / "questions.jsonl", AskingOptions(user="eval")
        asked = await ask_all(millrace, read_questions(path).questions, options)
        results = evaluate(make_run(path, options, asked), requirements=[requirement(each) for each in REQUIRED])
        for each in results.measured:
            if each.measure.name in SHOWN:
                self.report.say(f"{each.measure.name:<20} {in_words(each)}")
        page = self.folder.parent / "eval.html"
        await asyncio.to_thread(write_html, results, page)
        self.report.say(f"report: {page}")
        missed = "; ".join(requirement_in_words(each, results) for each in results.unmet)
        self.report.check(f"at least {' and '.join(REQUIRED)}", not missed, missed)
        self.report.check("every question got an answer", results.run.n_failed == 0, f"{results.run.n_failed} failed")

    async def edit(self, millrace: Millrace) -> None:
        """A change is answered from as soon as its receipt is honoured."""
        self.report.begin("edit a page and ask again, after its receipt")
        shutil.copy(HANDBOOK / "revisions" / "travel.md", self.folder / TRAVEL)
        sent = await self._ingest(millrace, "everyone", wait=False)
        self.report.check("one page was sent", sent.n_sent == 1, f"{sent.n_sent} were")
        answer = await self.put(millrace, ALLOWANCE, KIM, after=tuple(sent.receipts))
        self.report.check("the new text is quoted", _quotes(answer, "66 euros", TRAVEL), answer.text[:120])
        version = await version_of(millrace, TRAVEL, sent.receipts[0].version)
        n_new, n_chunks = (version.n_embedded, len(version.chunks)) if version else (-1, -1)
        self.report.check(f"of {n_chunks} chunks only the two that changed were embedded", n_new == 2, f"{n_new} were")

    async def revoke(self, millrace: Millrace) -> None:
        """Access is its own stream: taking it away embeds nothing and shows at once."""
        self.report.begin("revoke access and ask again")
        receipt = await millrace.revoke(LEAVE, ["hr"])
        answer = await self.put(millrace, WEEKS, MARIA, after=(receipt,))
        self.report.check("maria does not see it any more", not _cites(answer, LEAVE), answer.text[:120])

    async def delete(self, millrace: Millrace) -> None:
        """What is gone from the folder answers nothing."""
        self.report.begin("delete a page, ingest with sync, and ask again")
        (self.folder / DEVICES).unlink()
        sent = await self._ingest(millrace, "everyone", sync=True, wait=False)
        answer = await self.put(millrace, STOLEN, KIM, after=tuple(sent.receipts))
        self.report.check("the deleted page is not quoted", not _cites(answer, DEVICES), answer.text[:120])

    async def watch(self, millrace: Millrace) -> None:
        """A watched folder is ingested when it changes, without anybody asking for it."""
        self.report.begin("watch the folder, and add a page")
        rounds: asyncio.Queue[Ingested] = asyncio.Queue()
        plan = self._plan("everyone", sync=True, wait=True)
        watching = asyncio.create_task(Watch(millrace, plan, rounds.put_nowait, lambda _: None).run())
        try:
            async with asyncio.timeout(WATCHED_S):
                await rounds.get()
                page = "# Canteen\n\nThe canteen serves lentil stew every Thursday, and nobody has to pay for it.\n"
                (self.folder / "everyone" / "canteen.md").write_text(page)
                while not (await rounds.get()).outcomes:
                    pass
        except TimeoutError:
            self.report.say(f"nothing was noticed within {WATCHED_S:.0f} s")
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        answer = await self.put(millrace, "What does the canteen serve every Thursday?", KIM)
        self.report.check(
            "the new page is quoted", _quotes(answer, "lentil stew", "everyone/canteen.md"), answer.text[:120]
        )

    async def poison(self, millrace: Millrace) -> None:
        """Bytes that are no event go to the dead letter topic unchanged, and the rest flows."""
        self.report.begin("a poison record")
        await asyncio.to_thread(write_raw, millrace, SOURCE_CHANGED.name, b"t/default/d/poison", POISON)
        page = self.folder / "everyone" / "office.md"
        page.write_text(page.read_text() + "\n")
        after = await self._ingest(millrace, "everyone")
        self.report.check("the next document is settled all the same", len(after.outcomes) == 1, "no outcome")
        letters = await asyncio.to_thread(letters_of, millrace, SOURCE_CHANGED.dead_letters, POISON)
        for letter in letters:
            self.report.say(f"dead letter {letter.id}: {letter.error.get('message', '')}")
        self.report.check("its bytes are in the dead letter topic, once", len(letters) == 1, f"{len(letters)} letters")

    async def again(self, millrace: Millrace, before: int) -> None:
        """The same questions after ``down`` and ``up`` get the same answers from what is stored."""
        self.report.begin("ask again after down and up")
        answer = await self.put(millrace, ALLOWANCE, KIM)
        self.report.check("the same answer", _quotes(answer, "66 euros", TRAVEL), answer.text[:120])
        answer = await self.put(millrace, STOLEN, KIM)
        self.report.check("what was deleted stays deleted", not _cites(answer, DEVICES), answer.text[:120])
        answer = await self.put(millrace, WEEKS, MARIA)
        self.report.check("what was revoked stays revoked", not _cites(answer, LEAVE), answer.text[:120])
        embedded = await count_embedded(millrace) - before
        self.report.check("0 chunks were embedded since", embedded == 0, f"{embedded} were")

    def _plan(self, name: str, *, sync: bool = False, wait: bool = True) -> Plan:
        return Plan(paths=(self.folder / name,), groups=(ACCESS[name],), prefix=name, sync=sync, wait=wait)

    async def _ingest(self, millrace: Millrace, name: str, *, sync: bool = False, wait: bool = True) -> Ingested:
        found = await Ingestion(millrace, self._plan(name, sync=sync, wait=wait)).run()
        said = ", ".join(f"{n} {outcome}" for outcome, n in sorted(found.counts().items()))
        self.report.say(
            f"{name}/: {found.n_found} pages, {found.n_sent} sent, {found.n_unchanged} unchanged, "
            f"{found.n_deleted} deleted{': ' + said if said else ''}"
        )
        for skipped in found.skipped:
            self.report.say(f"not sent ({skipped.reason}): {skipped.id}: {skipped.message}")
        return found

    async def put(self, millrace: Millrace, question: str, who: Mapping[str, object], **options: object) -> Answer:
        """Ask, and print question and answer."""
        answer = await millrace.ask(question, **who, **options)  # type: ignore[arg-type]
        self.report.say(f"{who['user']}: {question}")
        said = " ".join(answer.text.split()) or "not in the corpus"
        self.report.say(f"  -> {said}"[:160] + f"   ({answer.latency_ms:.0f} ms)")
        for n, citation in enumerate(answer.citations, start=1):
            self.report.say(f"     [{n}] {citation.document} v{citation.version}, {citation.heading}")
        return answer


def _cites(answer: Answer, document: str) -> bool:
    return any(citation.document == document for citation in answer.citations)


def _quotes(answer: Answer, expected: str, document: str) -> bool:
    return any(citation.document == document and expected in citation.quote for citation in answer.citations)
