"""The steps of the demo: each does one thing that users do, and checks that it shows what it should."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from confluent_kafka import Producer

from infra.demo.report import Report
from millrace.client import Answer, Millrace
from millrace.dead_letters import Letter
from millrace.errors import Unavailable
from millrace.events.corpus import DocumentIndexed
from millrace.reader import LogReader, raw_record, read
from millrace.topics import CHUNKS_EMBEDDED, DOCUMENT_INDEXED, SOURCE_CHANGED

PAGES = Path(__file__).parents[2] / "examples" / "pages"
PEOPLE = "people/parental-leave.md"
HR = {"user": "maria", "groups": ("hr",)}
QUESTIONS = (
    ("What is the daily meal allowance abroad?", "58 euros", "travel.md"),
    ("How soon must a stolen laptop be reported?", "one hour", "devices.md"),
    ("On which day are releases shipped?", "second Tuesday", "releases.md"),
)
LEAVE = "How many weeks of parental leave are paid in full?"
LETTER_TIMEOUT_S = 15.0
POISON = b"\x00\xff\xff\xff\xff this is no event"


class Demo:
    """The steps, in the order of the summary; `folder` is a working copy of the example pages."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.folder = folder
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(PAGES, folder)

    async def ingest(self, millrace: Millrace) -> None:
        """Every page becomes a visible version; one is for the people team alone."""
        self.report.begin("ingest a folder of pages")
        receipts = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            name = path.relative_to(self.folder).as_posix()
            groups = ("hr",) if name == PEOPLE else ("*",)
            media_type = "text/plain" if path.suffix == ".txt" else "text/markdown"
            receipts.append(
                await millrace.put_document(
                    name, path.read_bytes(), source="pages", groups=groups, media_type=media_type
                )
            )
        outcomes = await millrace.wait(receipts)
        for outcome in outcomes:
            self.report.say(f"{outcome.outcome:<9} {outcome.receipt.document} v{outcome.version}")
        found = sum(outcome.outcome == "indexed" for outcome in outcomes)
        self.report.check(f"{len(receipts)} documents are indexed", found == len(receipts), f"{found} are")

    async def ask(self, millrace: Millrace) -> None:
        """Answers quote the right page."""
        self.report.begin("ask with citations")
        for question, expected, document in QUESTIONS:
            answer = await self._ask(millrace, question)
            self.report.check(
                f"quotes {document}: {expected!r}", _quotes(answer, expected, document), answer.text[:120]
            )
        answer = await self._ask(millrace, "What is the boiling point of tungsten?")
        self.report.check("says so when the corpus holds no answer", not answer.found, answer.text[:120])

    async def edit(self, millrace: Millrace) -> None:
        """A change is answered from as soon as its receipt is honoured."""
        self.report.begin("edit a page and ask again, after its receipt")
        path = self.folder / "travel.md"
        path.write_text(path.read_text().replace("58 euros abroad", "66 euros abroad"))
        receipt = await millrace.put_document("travel.md", path.read_bytes(), source="pages")
        answer = await self._ask(millrace, QUESTIONS[0][0], after=(receipt,))
        self.report.check("the new text is quoted", _quotes(answer, "66 euros", "travel.md"), answer.text[:120])
        version = await self._indexed(millrace, "travel.md", receipt.version)
        n_embedded = version.n_embedded if version else -1
        self.report.check("only the changed chunk was embedded", n_embedded == 1, f"{n_embedded} were")

    async def revoke(self, millrace: Millrace) -> None:
        """Access is its own stream: taking it away embeds nothing and shows at once."""
        self.report.begin("revoke access and ask again")
        answer = await self._ask(millrace, LEAVE, **HR)
        self.report.check("a member of hr gets the answer", _quotes(answer, "sixteen weeks", PEOPLE), answer.text[:120])
        answer = await self._ask(millrace, LEAVE)
        self.report.check("nobody else does", not _cites(answer, PEOPLE), answer.text[:120])
        receipt = await millrace.revoke(PEOPLE, ["hr"])
        answer = await self._ask(millrace, LEAVE, after=(receipt,), **HR)
        self.report.check("after revoking, hr does not either", not _cites(answer, PEOPLE), answer.text[:120])

    async def delete(self, millrace: Millrace) -> None:
        """A deleted page answers nothing."""
        self.report.begin("delete a page and ask again")
        receipt = await millrace.delete_document("devices.md", source="pages")
        answer = await self._ask(millrace, QUESTIONS[1][0], after=(receipt,))
        self.report.check("the deleted page is not quoted", not _cites(answer, "devices.md"), answer.text[:120])

    async def poison(self, millrace: Millrace) -> None:
        """Bytes that are no event go to the dead letter topic unchanged, and the rest flows."""
        self.report.begin("a poison record")
        await asyncio.to_thread(_write, millrace, SOURCE_CHANGED.name, b"t/default/d/poison", POISON)
        receipt = await millrace.put_document(
            "office.md", (self.folder / "office.md").read_text() + "\n", source="pages"
        )
        outcomes = await millrace.wait(receipt)
        self.report.check("the next document is settled all the same", bool(outcomes), "no outcome")
        letters = await asyncio.to_thread(_dead_letters, millrace, SOURCE_CHANGED.dead_letters)
        for letter in letters:
            self.report.say(f"dead letter {letter.id}: {letter.error.get('message', '')}")
        self.report.check("its bytes are in the dead letter topic, once", len(letters) == 1, f"{len(letters)} letters")

    async def again(self, millrace: Millrace, before: int) -> None:
        """The same question after ``down`` and ``up`` gets the same answer from what is stored."""
        self.report.begin("ask again after down and up")
        question = QUESTIONS[0][0]
        answer = await self._ask(millrace, question)
        self.report.check("the same answer", _quotes(answer, "66 euros", "travel.md"), answer.text[:120])
        answer = await self._ask(millrace, QUESTIONS[1][0])
        self.report.check("what was deleted stays deleted", not _cites(answer, "devices.md"), answer.text[:120])
        embedded = await count_embedded(millrace) - before
        self.report.check("0 chunks were embedded since", embedded == 0, f"{embedded} were")

    async def _ask(self, millrace: Millrace, question: str, **options: object) -> Answer:
        answer = await millrace.ask(question, **options)  # type: ignore[arg-type]
        self.report.say(f"{'maria' if options.get('user') else 'anyone'}: {question}")
        self.report.say(f"  -> {answer.text.strip() or 'not in the corpus'}"[:160] + f"   ({answer.latency_ms:.0f} ms)")
        for n, citation in enumerate(answer.citations, start=1):
            self.report.say(f"     [{n}] {citation.document} v{citation.version}, {citation.heading}")
        return answer

    async def _indexed(self, millrace: Millrace, document: str, version: int) -> DocumentIndexed | None:
        events = await asyncio.to_thread(lambda: list(read(millrace.connection, [DOCUMENT_INDEXED])))
        indexed = [event for event in events if isinstance(event, DocumentIndexed) and event.document == document]
        return next((event for event in indexed if event.version == version), None)


async def count_embedded(millrace: Millrace) -> int:
    """Records on the topic of embedded chunks, so that none since can be shown."""
    return len(await asyncio.to_thread(lambda: list(read(millrace.connection, [CHUNKS_EMBEDDED]))))


def _write(millrace: Millrace, topic: str, key: bytes, value: bytes) -> None:
    """Write bytes as a foreign client would."""
    producer = Producer(millrace.connection.librdkafka_producer())
    producer.produce(topic, key=key, value=value)
    if producer.flush(10):
        raise Unavailable(f"the broker did not take a record for {topic}")


def _dead_letters(millrace: Millrace, topic: str) -> list[Letter]:
    """Dead letters with the poison's bytes; waits for the first, because its partition goes at its own pace."""
    give_up_s = time.monotonic() + LETTER_TIMEOUT_S
    with LogReader(millrace.connection, [topic], stop="never") as reader:
        for batch in reader.batches(idle=lambda: time.monotonic() > give_up_s):
            found = [Letter.of(raw_record(message)) for message in batch]
            if any(letter.value == POISON for letter in found):
                break
    with LogReader(millrace.connection, [topic]) as reader:
        return [letter for letter in map(Letter.of, reader) if letter.value == POISON]


def _cites(answer: Answer, document: str) -> bool:
    return any(citation.document == document for citation in answer.citations)


def _quotes(answer: Answer, expected: str, document: str) -> bool:
    return any(citation.document == document and expected in citation.quote for citation in answer.citations)
