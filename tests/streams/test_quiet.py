"""A session is over once its conversation was quiet for the gap and the lateness, by event time and by arrival."""

from millrace.event import Event, Origin
from millrace.events.feedback import SessionDue
from streams.quiet import QuietConversations
from tests.builders import TIME_US, asked, with_meta

SECOND = 1_000_000
GAP, LATE = 100 * SECOND, 10 * SECOND


def at(seconds: int, *, offset: int = 0, conversation: str = "c1", name: str = "") -> Event:
    question = asked(name or f"q{seconds}", conversation=conversation)
    return with_meta(
        question,
        id=f"{conversation}/{name or seconds}",
        time_us=TIME_US + seconds * SECOND,
        origin=Origin("query.request.received.v1", 0, offset),
    )


def noted(*events: Event) -> QuietConversations:
    quiet = QuietConversations(GAP, LATE)
    for event in events:
        quiet.note(event, event.meta.time_us)
    return quiet


def due_at(quiet: QuietConversations, seconds: int) -> list[SessionDue]:
    return list(quiet.due(TIME_US + seconds * SECOND))


def test_a_session_is_due_after_gap_and_lateness_and_not_before() -> None:
    quiet = noted(at(0, offset=4), at(50, offset=7))
    assert due_at(quiet, 159) == []
    [due] = due_at(quiet, 160)
    assert (due.conversation, due.until_us) == ("c1", TIME_US + 150 * SECOND)
    assert due.positions == {"query.request.received.v1": 7}


def test_every_worker_says_it_with_the_same_id_in_whatever_order_it_read() -> None:
    one, other = noted(at(0, offset=0), at(50, offset=1)), noted(at(50, offset=1), at(0, offset=0))
    [first], [second] = due_at(one, 200), due_at(other, 200)
    assert first.meta.id == second.meta.id
    [later] = due_at(noted(at(0), at(60)), 200)
    assert later.meta.id != first.meta.id


def test_a_record_that_comes_again_changes_neither_time_nor_place() -> None:
    quiet = noted(at(0, offset=3))
    quiet.note(at(0, offset=9), TIME_US + 500 * SECOND)
    [due] = due_at(quiet, 110)
    assert due.positions == {"query.request.received.v1": 3}


def test_what_arrives_late_is_waited_for_by_its_arrival() -> None:
    quiet = QuietConversations(GAP, LATE)
    quiet.note(at(0), TIME_US + 1000 * SECOND)
    assert due_at(quiet, 1009) == []
    assert len(due_at(quiet, 1010)) == 1


def test_what_was_said_to_be_over_is_forgotten_whoever_said_it_and_in_whatever_order_it_is_read() -> None:
    [due] = due_at(noted(at(0)), 200)
    after, before = noted(at(0)), QuietConversations(GAP, LATE)
    after.note(due, 0)
    before.note(due, 0)
    before.note(at(0), TIME_US)
    assert (len(after), len(before)) == (0, 0)
    after.note(at(150), TIME_US + 150 * SECOND)
    assert len(due_at(after, 300)) == 1, "what begins later is another session"


def test_a_session_nobody_noted_as_over_is_due_again_by_the_same_id() -> None:
    quiet = noted(at(0))
    [first], [second] = due_at(quiet, 200), due_at(quiet, 900)
    assert first.meta.id == second.meta.id


def test_beyond_the_bound_those_that_were_quiet_longest_are_forgotten_and_none_is_over_early() -> None:
    quiet = QuietConversations(GAP, LATE, most=2)
    for n, name in enumerate("abcda"):
        quiet.note(at(n, conversation=name), TIME_US)
        assert len(quiet) <= 2, "at each record, not only when somebody looks"
    assert quiet.n_forgotten == 3
    assert due_at(quiet, 5) == []
    assert [due.conversation for due in due_at(quiet, 1000)] == ["d", "a"]


def test_a_forgotten_conversation_that_goes_on_is_closed_with_all_that_it_holds() -> None:
    quiet = QuietConversations(GAP, LATE, most=1)
    for n, name in enumerate("aba"):
        quiet.note(at(n, conversation=name, offset=n), TIME_US)
    [due] = due_at(quiet, 1000)
    assert (due.conversation, due.until_us) == ("a", TIME_US + 102 * SECOND)
    assert due.positions == {"query.request.received.v1": 2}


def test_a_closed_conversation_makes_room() -> None:
    quiet = QuietConversations(GAP, LATE, most=2)
    quiet.note(at(0, conversation="a"), TIME_US)
    [due] = due_at(quiet, 200)
    quiet.note(due, 0)
    for name in "bc":
        quiet.note(at(200, conversation=name), TIME_US)
    assert (len(quiet), quiet.n_forgotten) == (2, 0)


def test_the_last_256_records_of_a_conversation_are_known_again() -> None:
    quiet = noted(*(at(n, offset=n) for n in range(257)))
    quiet.note(at(1, offset=900), TIME_US)
    [due] = due_at(quiet, 5000)
    assert due.positions == {"query.request.received.v1": 256}
    quiet.note(at(0, offset=901), TIME_US)
    [due] = due_at(quiet, 5000)
    assert due.positions == {"query.request.received.v1": 901}, "the control: one before them is not"


def test_what_comes_too_late_is_closed_all_the_same_for_readers_that_met_it_before_they_knew() -> None:
    quiet = noted(at(0))
    [due] = due_at(quiet, 200)
    quiet.note(due, 0)
    quiet.note(at(50), TIME_US + 210 * SECOND)
    [again] = due_at(quiet, 300)
    assert again.until_us == TIME_US + 150 * SECOND
