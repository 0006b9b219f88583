"""F1: what every step of the project left on its log is read, folded and answered by today's code as it was then.

A difference that was meant stands in differences.toml with its reason; one that is not listed fails, and so does a
listed one that no longer occurs. How to record a log: schemas/README.md.
"""

import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.corpus.policy import CorpusPolicy
from agents.guard.policy import GuardPolicy
from agents.learn import curate, detect_drift, measure_signals, propose_example, score_quality
from agents.learn.policy import LearnPolicy
from agents.learn.ports import ExamplePorts, LearnPorts
from agents.query.policy import QueryPolicy
from agents.usage import meter, total_usage
from inference.personal_data import PersonalDataFinder
from millrace.agent import spec_of
from millrace.codec import Codec
from millrace.dead_letters import Letter
from millrace.errors import MillraceError, UnknownSchema, error_type
from millrace.events.learn import QualityScored
from millrace.events.query import AnswerProduced, ContextRetrieved, QueryReceived
from millrace.keys import partition_for
from millrace.reader import RawRecord
from millrace.schema import fingerprint
from millrace.schema_lock import released
from millrace.testing import Memory
from millrace.topics import (
    ACL_CHANGED,
    ANSWER_PRODUCED,
    CATALOGUE,
    CONTEXT_RETRIEVED,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    QUERY_RECEIVED,
    SIGNALS_MEASURED,
)
from streams.parsing.language import language
from streams.replay import Recorded, replay
from streams.visibility.table import VisibilityTable
from tests.fakes import MemoryObjects
from tests.golden.replaying import Difference, InProcessScanner, differences, events_of, sources_of, stack_of
from tools.golden.drive import plain
from tools.golden.log import GoldenLog, read, write
from tools.project_text import RULES

HERE = Path(__file__).parent
LOGS = sorted(HERE.glob("step-*.log.gz"))
LETTERS = ".dlq"
MAX_BYTES = 300_000
FOLLOWING: tuple[tuple[Callable[..., Any], ...], ...] = (
    (meter,), (total_usage,), (measure_signals,), (detect_drift,), (propose_example, curate)
)  # fmt: skip
"""Agents whose outputs follow from the order within each topic; those that write to the same topic together."""
LOOP = (measure_signals, detect_drift, score_quality, propose_example, curate)
FOLDED = (ACL_CHANGED.name, DOCUMENT_INDEXED.name, DOCUMENT_SETTLED.name)


@pytest.fixture(scope="module", params=LOGS, ids=lambda path: path.name.removesuffix(".log.gz"))
def log(request: pytest.FixtureRequest) -> GoldenLog:
    return read(request.param)


@pytest.fixture(scope="module")
def latest() -> GoldenLog:
    return read(LOGS[-1])


@pytest.fixture(scope="module")
def scanner() -> InProcessScanner:
    return InProcessScanner()


@dataclass(frozen=True)
class Groups:
    groups: Sequence[str]


def test_there_is_a_log_of_every_step_and_each_is_small() -> None:
    assert [read(path).step for path in LOGS] == list(range(3, 3 + len(LOGS)))
    assert len(LOGS) >= 4
    assert all(path.stat().st_size < MAX_BYTES for path in LOGS)


# --- records ----------------------------------------------------------------------------------------------------------


def test_every_record_is_read_by_todays_classes_and_written_again(log: GoldenLog) -> None:
    codec, letters = Codec(), [letter.value for letter in _letters(log)]
    n_read = 0
    for record in log.records:
        if record.topic.endswith(LETTERS):
            continue
        try:
            event = codec.read(CATALOGUE[record.topic], record.key, record.value, record.headers, record.origin)
        except MillraceError:
            assert record.value in letters, f"{record.origin} cannot be read, and was no dead letter"
            continue
        n_read += 1
        again = codec.record(CATALOGUE[record.topic], event)
        assert again.key == record.key
        assert dict(again.headers).items() <= dict(record.headers).items()
        assert codec.decode(again.value) == event
        if not CATALOGUE[record.topic].reply:
            assert partition_for(again.key, log.partitions[record.topic]) == record.partition
        if _written_by(record) == int.from_bytes(again.value[1:5], "big"):
            assert again.value == record.value
    assert n_read > 200


def test_a_log_says_nothing_of_the_machine_it_was_made_on(log: GoldenLog) -> None:
    folders = RULES[0][1]
    for record in log.records:
        told = [record.value or b"", *(value for _, value in record.headers)]
        assert not any(folders.search(text.decode("latin-1")) for text in told), record.origin


def test_schemas_of_a_log_stand_in_the_lock_unchanged(log: GoldenLog) -> None:
    for number, schema in log.schemas.items():
        known = released().writer(int(number))
        assert known is not None, f"schema {number} ({schema['name']}) left schemas/history; records need it for ever"
        assert fingerprint(known) == fingerprint(schema)


def test_without_the_history_of_schemas_old_records_are_not_read() -> None:
    """Control: the first step's records are read because schemas/history is there."""
    first = read(LOGS[0])
    newest = {versions[-1].id for versions in released().events.values()}
    codec = Codec(writers=lambda number: released().writer(number) if number in newest else None)
    [old, *_] = [
        record
        for record in first.records
        if _written_by(record) not in {None, *newest} and str(_written_by(record)) in first.schemas
    ]
    with pytest.raises(UnknownSchema):
        codec.decode(old.value)


def test_poison_of_the_log_is_refused_for_the_same_reason(log: GoldenLog) -> None:
    letters = _letters(log)
    assert len(letters) == 2
    for letter in letters:
        with pytest.raises(MillraceError) as raised:
            Codec().read(CATALOGUE[letter.source], letter.key, letter.value, letter.headers, None)  # type: ignore[arg-type]
        assert letter.error["type"] == error_type(raised.value)


# --- the visibility table ---------------------------------------------------------------------------------------------


def test_visibility_folds_to_the_digest_of_the_code_that_was_recorded(log: GoldenLog, tmp_path: Path) -> None:
    assert _digest(log.of(*FOLDED), log, tmp_path) == log.digest


def test_a_log_without_its_access_has_another_digest(latest: GoldenLog, tmp_path: Path) -> None:
    """Control."""
    found = [record for record in latest.of(*FOLDED) if record.topic != ACL_CHANGED.name]
    assert _digest(found, latest, tmp_path) != latest.digest


def test_what_a_question_read_is_visible_at_its_watermark(log: GoldenLog, tmp_path: Path) -> None:
    table = _table(log.of(*FOLDED), log, tmp_path)
    n_hits = 0
    try:
        for _, context in events_of(log, CONTEXT_RETRIEVED.name):
            body = msgspec.to_builtins(context)
            view = table.visible(body["tenant"], Groups(body["groups"]), at=body["watermark"])
            for hit in body["hits"]:
                n_hits += 1
                assert view.why_not(hit["document"], hit["chunk_id"]) is None, (body["question"], hit["document"])
    finally:
        table.close()
    assert n_hits > 100


# --- replay -----------------------------------------------------------------------------------------------------------


async def test_todays_agents_do_what_was_recorded_or_the_difference_is_listed(
    log: GoldenLog, scanner: InProcessScanner
) -> None:
    found, n_compared = await differences(log, stack_of(log, scanner))
    assert n_compared > 100
    assert found == _listed(log.step)


async def test_what_follows_from_answers_is_what_it_was(log: GoldenLog, scanner: InProcessScanner) -> None:
    """Usage, and what is learned from: nothing of an agent that the step did not have yet."""
    n_identical = 0
    for agents in FOLLOWING:
        specs = [spec_of(each) for each in agents]
        sinks = {topic.name for spec in specs for topic in spec.sinks}
        if sinks <= log.partitions.keys():
            own = sources_of(agents)
            written = [Recorded(*each) for each in events_of(log, *sinks) if each[1].meta.source in own]
            sources = {topic.name for spec in specs for topic in spec.sources} - sinks
            inputs = [Recorded(*each) for each in events_of(log, *sources)]
            found = await replay(specs, [*inputs, *written], ports=_learning(log, scanner))
            assert found.counts() == Counter(identical=len(written))
            n_identical += len(found.pairs)
    assert n_identical > 40


async def test_today_the_loop_learns_from_what_every_step_left_and_from_each_record_once(
    log: GoldenLog, scanner: InProcessScanner
) -> None:
    """Logs from before there was a loop: whoever upgrades has them."""
    events = [event for _, event in events_of(log, QUERY_RECEIVED.name, CONTEXT_RETRIEVED.name, ANSWER_PRODUCED.name)]
    asked = {each.meta.correlation_id for each in events if isinstance(each, QueryReceived) and each.mode == "answer"}
    searched = {each.meta.correlation_id for each in events if isinstance(each, ContextRetrieved)}
    ends = [each for each in events if isinstance(each, AnswerProduced)]
    whole = {each.correlation for each in ends if each.correlation in searched or each.status in {"refused", "failed"}}
    memory = Memory([spec_of(each) for each in LOOP], ports=_learning(log, scanner))
    scored = [each for each in await memory.feed(events) if isinstance(each, QualityScored)]
    assert {each.correlation for each in scored} == whole & asked
    measured = sum(bool(each.hits) and each.mode == "answer" for each in ends)
    assert len(memory.topics[SIGNALS_MEASURED.name]) == measured > 10
    assert not memory.dead_letters
    again = await memory.feed(events)
    assert not [each for each in again if isinstance(each, QualityScored)]


@pytest.mark.parametrize(
    ("policies", "fields"),
    [
        ({"corpus_policy": CorpusPolicy(min_block_chars=40)}, {Difference(DOCUMENT_INDEXED.name, "chunks")}),
        ({"query_policy": QueryPolicy(dense_weight=0.2)}, {Difference(CONTEXT_RETRIEVED.name, "hits.chunk_id")}),
        ({"query_policy": QueryPolicy(answer_threshold=0.9)}, {Difference(ANSWER_PRODUCED.name, "status")}),
    ],
    ids=["other chunks", "other ranking", "other threshold"],
)
async def test_a_change_of_what_is_decided_is_a_difference(
    latest: GoldenLog, scanner: InProcessScanner, policies: dict[str, Any], fields: set[Difference]
) -> None:
    """Control: the replay sees what it is there to see."""
    found, _ = await differences(latest, stack_of(latest, scanner, **policies))
    new = found - _listed(latest.step)
    assert fields <= new.keys()


async def test_a_listed_difference_that_no_longer_occurs_is_noticed(scanner: InProcessScanner) -> None:
    """Control: without the scan of documents some of step 5 is as it was."""
    fifth = read(HERE / "step-5.log.gz")
    found, _ = await differences(fifth, stack_of(fifth, scanner, guard_policy=GuardPolicy(documents=False)))
    assert _listed(5) - found


def test_every_listed_difference_has_a_reason_and_a_log() -> None:
    steps = {read(path).step for path in LOGS}
    for each in _entries():
        assert steps.issuperset(each["steps"])
        assert len(each["reason"]) > 40
        assert each["number"]


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_log_is_written_as_it_was_read(latest: GoldenLog, tmp_path: Path) -> None:
    head = {name: getattr(latest, name) for name in ("log_epoch", "partitions", "digest", "schemas")}
    found = {**head, **plain(latest.records, latest.objects)}
    write(tmp_path / "again.log.gz", latest.step, latest.commit, found)
    assert (tmp_path / "again.log.gz").read_bytes() == LOGS[-1].read_bytes()


def _learning(log: GoldenLog, scanner: InProcessScanner) -> dict[str, Any]:
    plain = LearnPorts(LearnPolicy())
    making = ExamplePorts(
        objects=MemoryObjects(objects=dict(log.objects)),
        personal_data=PersonalDataFinder(),
        scanner=scanner,
        language=language,
        guard=GuardPolicy(),
        policy=plain.policy,
    )
    return {spec_of(each).name: making if each is propose_example else plain for each in LOOP}


def _letters(log: GoldenLog) -> list[Letter]:
    return [Letter.of(record) for record in log.records if record.topic.endswith(LETTERS)]


def _written_by(record: RawRecord) -> int | None:
    return int.from_bytes(record.value[1:5], "big") if record.value and record.value[0] == 0 else None


def _table(records: Sequence[RawRecord], log: GoldenLog, folder: Path) -> VisibilityTable:
    table = VisibilityTable.open(folder / "visibility.db", Codec(), log.log_epoch)
    table.fold(records)
    return table


def _digest(records: Sequence[RawRecord], log: GoldenLog, folder: Path) -> str:
    table = _table(records, log, folder)
    try:
        return table.digest()
    finally:
        table.close()


def _entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((HERE / "differences.toml").read_text()).get("difference", [])
    return found


def _listed(step: int) -> Counter[Difference]:
    found: Counter[Difference] = Counter()
    for each in _entries():
        if step in each["steps"]:
            for topic, fields in each["number"].items():
                found.update({Difference(topic, field): number for field, number in fields.items()})
    return found
