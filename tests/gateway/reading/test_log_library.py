import asyncio
import threading
from typing import Any

import msgspec
import pytest

from gateway.identity import Identity
from gateway.reading import LogLibrary
from gateway.reading.access import ASKED, LEARNED, SAID
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentSettled
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import ReviewDecisionMade
from millrace.events.learn import ExampleCurated, ExampleProposed, ExampleRejected, QualityScored
from millrace.events.query import AnswerProduced, CompletionGenerated, ContextRetrieved, Dropped, QueryReceived
from millrace.events.usage import UsageTotalled
from millrace.lineage import QuestionTrace
from millrace.topics import CATALOGUE
from streams.visibility.asked import AnswersByDocument, RecentQuestions
from streams.visibility.tail import Tail
from tests.conditions import until
from tests.gateway.reading.conftest import ANN, BEN, MALLORY, SERVICE, Log
from tests.streams.visibility.corpus_log import indexed


def unasked(*_: object) -> QuestionTrace:
    raise AssertionError("nothing may be read")


async def listed(log: Log, identity: Identity, text: str = "") -> list[str]:
    return [found.document for found in (await log.library.documents(identity, text=text)).items]


async def test_a_revoked_right_is_gone_from_list_source_versions_answers_and_the_texts_of_traces(log: Log) -> None:
    await log.document("hr.md", 1, "Salaries are secret.", "hr")
    await log.answered("q1", "hr.md", text="They are secret.")
    assert await listed(log, ANN) == ["hr.md"]
    assert (await log.library.source(ANN, "hr.md", 1)) is not None
    assert [a.text for a in await log.library.answers_from(ANN, "hr.md")] == ["They are secret."]
    assert [a.text for a in await log.library.answers(ANN)] == ["They are secret."]
    before = await log.library.trace(ANN, "q1")
    assert before is not None
    assert b"They are secret." in repr(before.data()).encode()

    await log.write(AclChanged(tenant="acme", document="hr.md", version=2, groups=("board",)))
    assert await listed(log, ANN) == []
    assert await log.library.document(ANN, "hr.md") is None
    assert await log.library.source(ANN, "hr.md", 1) is None
    assert await log.library.versions(ANN, "hr.md") == ()
    assert await log.library.answers_from(ANN, "hr.md") == ()
    assert await log.library.answers(ANN) == []
    after = await log.library.trace(ANN, "q1")
    assert after is not None
    assert "They are secret." not in repr(after)
    assert "hr.md" not in repr(after.data()["sources"])
    assert not any(entry.event.citations for entry in after.entries if isinstance(entry.event, AnswerProduced))


async def test_a_foreign_tenant_sees_nothing_whatever_the_names_of_its_users_and_groups(log: Log) -> None:
    await log.document("a.md", 1, "Text.")
    await log.answered("q1", "a.md")
    assert await listed(log, MALLORY) == []
    assert await log.library.document(MALLORY, "a.md") is None
    assert await log.library.source(MALLORY, "a.md", 1) is None
    assert await log.library.answers(MALLORY) == []
    assert await log.library.questions(MALLORY) == []
    assert await log.library.trace(MALLORY, "q1") is None
    page = await log.library.documents(ANN, limit=1)
    await log.document("b.md", 1, "Text.")
    page = await log.library.documents(ANN, limit=1)
    with pytest.raises(InputRejected, match="cursor"):
        await log.library.documents(MALLORY, after=page.next)


async def test_records_of_another_tenant_under_the_same_correlation_id_are_no_part_of_a_trace(log: Log) -> None:
    await log.answered("q1")
    await log.answered("q1", tenant="evil", text="Of the other tenant.")
    found = await log.library.trace(ANN, "q1")
    assert found is not None
    assert {entry.event.tenant for entry in found.entries if entry.event is not None} == {"acme"}


async def test_a_version_that_was_read_before_stays_readable_at_its_span(log: Log) -> None:
    await log.document("a.md", 1, "The old sentence.")
    await log.document("a.md", 2, "Something new stands here.")
    old = await log.library.source(ANN, "a.md", 1)
    new = await log.library.source(ANN, "a.md", 2)
    assert old is not None
    assert new is not None
    assert (old.text[4:7], old.visible, new.visible) == ("old", False, True)
    assert [(found.version, found.outcome) for found in await log.library.versions(ANN, "a.md")] == [
        (2, "indexed"),
        (1, "indexed"),
    ]


async def test_a_version_that_waits_for_its_access_is_not_shown(log: Log) -> None:
    await log.document("a.md", 1, "Old.")
    ref = await log.objects.put(b"Not for everyone.")
    await log.write(indexed("a.md", 2, text=ref, acl_version=9))
    assert await log.library.source(ANN, "a.md", 2) is None
    assert [found.version for found in await log.library.versions(ANN, "a.md")] == [1]


async def test_versions_from_before_a_deletion_are_not_shown_again(log: Log) -> None:
    await log.document("a.md", 1, "Deleted later.")
    await log.delete("a.md", 2)
    assert await log.library.source(ANN, "a.md", 1) is None
    await log.document("a.md", 3, "Anew.")
    assert await log.library.source(ANN, "a.md", 1) is None
    assert [found.version for found in await log.library.versions(ANN, "a.md")] == [3]


async def test_an_outcome_that_changed_nothing_stands_among_the_versions(log: Log) -> None:
    await log.document("a.md", 1, "Text.")
    await log.write(DocumentSettled(tenant="acme", document="a.md", version=2, outcome="rejected", reason="too_large"))
    found = await log.library.versions(ANN, "a.md")
    assert [(version.version, version.outcome, version.reason) for version in found] == [
        (2, "rejected", "too_large"),
        (1, "indexed", ""),
    ]


async def test_lists_are_paged_in_order_and_searched_by_id_and_title(log: Log) -> None:
    for name in ("c.md", "a.md", "b.md"):
        await log.document(name, 1, "Text.")
    first = await log.library.documents(ANN, limit=2)
    second = await log.library.documents(ANN, limit=2, after=first.next)
    assert [found.document for found in (*first.items, *second.items)] == ["a.md", "b.md", "c.md"]
    assert second.next == ""
    assert await listed(log, ANN, "TITLE OF B") == ["b.md"]
    assert await listed(log, ANN, "C.MD") == ["c.md"]


async def test_answers_are_their_askers_and_a_services_whose_groups_read_all_that_is_quoted(log: Log) -> None:
    await log.document("hr.md", 1, "Text.", "hr")
    await log.answered("q1", "hr.md")
    await log.answered("q2", user="ben")
    assert [a.correlation for a in await log.library.answers(ANN)] == ["q1"]
    assert [a.correlation for a in await log.library.answers(BEN)] == ["q2"]
    assert [a.correlation for a in await log.library.answers(SERVICE)] == ["q2", "q1"]
    outsider = Identity(tenant="acme", kind="service", scopes=frozenset({"read"}))
    assert [a.correlation for a in await log.library.answers(outsider)] == ["q2"]
    assert await log.library.trace(outsider, "q1") is None
    asking_only = Identity(tenant="acme", groups=("*", "hr"), kind="service", scopes=frozenset({"ask"}))
    assert await log.library.answers(asking_only) == []


async def test_what_nobody_in_particular_asked_is_no_persons_own(log: Log) -> None:
    await log.answered("q1", user="")
    assert await log.library.answers(Identity(tenant="acme")) == []
    assert await log.library.trace(Identity(tenant="acme"), "q1") is None


async def test_a_trace_is_found_by_either_id_and_shows_no_text_that_a_guard_may_have_taken_back(log: Log) -> None:
    await log.document("a.md", 1, "Text.")
    await log.answered("q1", "a.md")
    (question,) = await log.library.questions(ANN)
    found = await log.library.trace(ANN, question.trace_id)
    assert found is not None
    assert found.correlation_id == "q1"
    assert [entry.type for entry in found.entries] == [
        "QueryReceived",
        "ContextRetrieved",
        "CompletionGenerated",
        "AnswerProduced",
    ]
    assert "4111" not in repr(found)
    assert [source.version for source in found.sources] == [1]
    assert (question.question, question.status, question.n_citations) == ("Question q1?", "answered", 1)
    assert await log.library.trace(BEN, question.trace_id) is None


async def test_a_trace_says_nothing_of_how_much_others_have_or_do(log: Log) -> None:
    whose: dict[str, Any] = {"tenant": "acme", "conversation": "c"}
    await log.write(
        QueryReceived(**whose, question="Q?", user="ann"),
        ContextRetrieved(
            **whose,
            question="Q?",
            user="ann",
            dropped=(Dropped("forbidden", 7),),
            n_chunks=12_345,
            watermark="x/i:0=678",
        ),
        UsageTotalled(tenant="acme", n_questions=91_011),
        correlation="q1",
    )
    found = await log.library.trace(ANN, "q1")
    assert found is not None
    assert [entry.type for entry in found.entries] == ["QueryReceived", "ContextRetrieved"]
    assert not any(told in repr(found) for told in ("forbidden", "12345", "678", "91011"))


async def test_the_first_terminal_record_of_a_question_is_the_one_that_is_shown(log: Log) -> None:
    await log.answered("q1", text="First.")
    await log.write(
        AnswerProduced(
            tenant="acme", conversation="c-q1", correlation="q1", status="answered", text="Second.", user="ann"
        ),
        correlation="q1",
    )
    assert [a.text for a in await log.library.answers(ANN)] == ["First."]


async def test_nothing_is_shown_while_the_table_is_not_known_to_be_up_to_date(log: Log) -> None:
    client = log.connection.aiokafka()
    behind = Tail(log.table.with_name("behind.db"), client, log_epoch=log.connection.log_epoch)
    library = LogLibrary(behind, log.objects.get, AnswersByDocument(client), RecentQuestions(client), unasked)
    for looked in (
        library.documents(ANN),
        library.answers(ANN),
        library.document(ANN, "a.md"),
        library.trace(ANN, "q"),
    ):
        with pytest.raises(Unavailable, match="visibility table"):
            await looked
    await behind.stop()


async def test_a_question_that_is_still_worked_on_can_be_followed(log: Log) -> None:
    await log.write(
        QueryReceived(tenant="acme", conversation="c", question="Now?", user="ann"),
        CompletionGenerated(tenant="acme", conversation="c", text="secret", found=True, user="ann"),
        correlation="q9",
    )
    found = await log.library.trace(ANN, "q9")
    assert found is not None
    assert [entry.what for entry in found.entries] == ["Now?", "6 characters, 0 quotes"]


async def test_few_traces_are_read_at_a_time_and_too_many_are_refused(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.write(QueryReceived(tenant="acme", conversation="c", question="Now?", user="ann"), correlation="q9")
    go_on, lock = threading.Event(), threading.Lock()
    reading = most = 0

    def follow(correlation: str, asked_ms: int, answered_ms: int) -> QuestionTrace:
        nonlocal reading, most
        with lock:
            reading += 1
            most = max(most, reading)
        go_on.wait(20)
        with lock:
            reading -= 1
        return QuestionTrace(correlation_id=correlation, trace_id="", entries=(), sources=())

    monkeypatch.setattr(log.library, "_follow", follow)
    looking = [asyncio.create_task(log.library.trace(ANN, "q9")) for _ in range(24)]
    await until(lambda: sum(each.done() for each in looking) >= 6)
    go_on.set()
    found = await asyncio.gather(*looking, return_exceptions=True)
    assert [type(each) for each in found].count(Unavailable) == 6
    assert [type(each) for each in found].count(QuestionTrace) == 18
    assert most == 2


async def test_only_whoever_asked_has_a_question_of_its_own(log: Log) -> None:
    await log.document("hr.md", 1, "Salaries are secret.", "board")
    await log.answered("q1", "hr.md")
    found = await log.library.question(ANN, "q1")
    assert found is not None, "whatever of the answer may still be read"
    assert (found.correlation, found.conversation) == ("q1", "c-q1")
    for other in (BEN, MALLORY, SERVICE):
        assert await log.library.question(other, "q1") is None
    assert await log.library.question(ANN, "q2") is None


async def test_what_others_say_of_an_answer_is_no_part_of_its_trace_and_hides_nothing_of_it(log: Log) -> None:
    await log.document("a.md", 1, "Text.")
    await log.answered("q1", "a.md")
    about: dict[str, Any] = {"tenant": "acme", "conversation": "c-q1", "correlation": "q1"}
    await log.write(
        FeedbackGiven(**about, kind="up", user="ann"),
        FeedbackGiven(**about, kind="correction", text="a secret of ben", user="ben"),
        FeedbackGiven(**about, kind="abandoned", implicit=True),
        correlation="q1",
    )
    trace = await log.library.trace(ANN, "q1")
    assert trace is not None
    said = [entry.event.kind for entry in trace.entries if isinstance(entry.event, FeedbackGiven)]
    assert sorted(said) == ["abandoned", "up"]
    assert "a secret of ben" not in repr(trace)


async def test_what_was_learned_or_decided_after_an_answer_is_no_part_of_its_trace_and_hides_nothing_of_it(
    log: Log,
) -> None:
    await log.document("a.md", 1, "Text.")
    await log.answered("q1", "a.md")
    before = await log.library.trace(ANN, "q1")
    assert before is not None
    example: dict[str, Any] = {
        "tenant": "acme", "example": "e1", "correlation": "q1", "source": "approved", "user": "1f0c", "document": "b.md"
    }  # fmt: skip
    await log.write(
        FeedbackGiven(tenant="acme", conversation="c-q1", correlation="q1", kind="up", user="ann"),
        ExampleProposed(**example, question="digest"),
        ExampleProposed(**example | {"user": ""}, question="digest"),
        ExampleCurated(**example, split="train"),
        ExampleRejected(**example, reason="empty"),
        ReviewDecisionMade(
            tenant="acme", item="i1", subject_kind="answer", subject="q1", decision="correct", user="rea", text="secret"
        ),
        correlation="q1",
    )
    after = await log.library.trace(ANN, "q1")
    assert after is not None
    assert [entry.type for entry in after.entries] == [*(entry.type for entry in before.entries), "FeedbackGiven"]


async def test_a_score_names_no_correction_of_others_and_no_answer_whose_quotes_may_not_be_read(log: Log) -> None:
    await log.document("a.md", 1, "Text.")
    await log.answered("q1", "a.md")
    (answer,) = await log.library.answers(ANN)
    score = QualityScored(
        tenant="acme", conversation="c-q1", correlation="q1", revision=1, score=0.1, poor=True, answer="The answer.",
        expected="said by ben", corrected_by="ben", citations=answer.citations, user="ann",
    )  # fmt: skip
    own = score.replace(revision=2, expected="said by ann", corrected_by="ann")
    await log.write(score, own, correlation="q1")
    seen = await scores(log)
    assert [(each.answer, each.expected, each.corrected_by) for each in seen] == [
        ("The answer.", "", ""),
        ("The answer.", "said by ann", "ann"),
    ]
    await log.write(AclChanged(tenant="acme", document="a.md", version=2, groups=("board",)))
    assert [(each.answer, each.citations) for each in await scores(log)] == [("", ()), ("", ())]


async def scores(log: Log) -> list[QualityScored]:
    trace = await log.library.trace(ANN, "q1")
    assert trace is not None
    return [entry.event for entry in trace.entries if isinstance(entry.event, QualityScored)]


@pytest.mark.parametrize("kind", ASKED)
async def test_nothing_is_shown_of_a_question_whose_id_somebody_else_chose_as_well(log: Log, kind: type[Event]) -> None:
    await log.answered("q1")
    fields: dict[str, Any] = {
        "tenant": "acme", "conversation": "c-q1", "question": "?", "text": "", "found": False, "correlation": "q1",
        "status": "answered", "revision": 1, "score": 1.0, "poor": False, "user": "ben",
    }  # fmt: skip
    wanted = {field.name for field in msgspec.structs.fields(kind)}
    await log.write(kind(**{name: value for name, value in fields.items() if name in wanted}), correlation="q1")
    assert await log.library.trace(ANN, "q1") is None


def test_of_every_event_with_a_user_it_is_known_whether_that_is_the_asker() -> None:
    with_user = {
        kind
        for topic in CATALOGUE.values()
        for kind in topic.events
        if "user" in {field.name for field in msgspec.structs.fields(kind)}
    }
    assert with_user == {*ASKED, *SAID, *LEARNED}
