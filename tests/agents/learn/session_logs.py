"""Logs of what people do with answers, seeded, with what is to be concluded from them.

Sessions are made of a few habits: ask, ask on, ask again in other words, ask for another name or number, give up,
leave, copy, thank, call for a person, press a button. Records arrive out of order and up to the allowed lateness late;
`streams.quiet` says when a conversation is over, by the clock of their arrival.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from agents.learn.policy import LearnPolicy
from millrace.event import Event, Meta, Origin, attach
from millrace.events.feedback import FeedbackGiven, InteractionObserved, SessionDue
from millrace.events.query import AnswerProduced, Citation, QueryReceived
from millrace.ids import derived
from millrace.topics import ANSWER_PRODUCED, FEEDBACK_GIVEN, INTERACTION_OBSERVED, QUERY_RECEIVED, SESSION_DUE
from streams.quiet import QuietConversations
from tests.agents.learn.phrasings import Topic

Label = tuple[str, str]
"""Correlation id and kind of a conclusion."""
Reword = Callable[[random.Random, str], str]
POLICY: Final = LearnPolicy()
SECOND: Final = 1_000_000
BEGIN_US: Final = 1_700_000_000 * SECOND
TENANT: Final = "acme"
_TOPICS: Final = {
    QueryReceived: QUERY_RECEIVED.name,
    AnswerProduced: ANSWER_PRODUCED.name,
    InteractionObserved: INTERACTION_OBSERVED.name,
    FeedbackGiven: FEEDBACK_GIVEN.name,
    SessionDue: SESSION_DUE.name,
}
_THANKS: Final = ("Thanks!", "thank you very much", "Great, that helps", "Perfect, thanks a lot", "ok thanks, bye")
_POOR: Final = ("not_found", "refused", "failed", "")
_QUOTE: Final = Citation("a.md", 1, "1", "A", "", 0, 5, "quote")


@dataclass
class Conversation:
    """One conversation while it is written.

    Attributes
    ----------
    arriving : list of (int, Event)
        Records with the time at which they arrive, microseconds.
    wanted : set of Label
        What is to be concluded.
    """

    name: str
    rng: random.Random
    now_us: int
    arriving: list[tuple[int, Event]] = field(default_factory=list)
    wanted: set[Label] = field(default_factory=set)
    _n: int = 0

    def wait(self, least_s: float, most_s: float) -> None:
        """Let time pass."""
        self.now_us += round(self.rng.uniform(least_s, most_s) * SECOND)

    def ask(
        self,
        question: str,
        status: str,
        *,
        retry_after_ms: int = 0,
        user: str = "ada",
        mode: Literal["answer", "search"] = "answer",
    ) -> str:
        """Ask, and be answered; gives the correlation id. No status is no answer."""
        self.wait(5, 240)
        self._n += 1
        name = derived("asked", self.name, self._n)
        asked = QueryReceived(tenant=TENANT, conversation=self.name, question=question, user=user, mode=mode)
        self._put(asked, correlation=name)
        if status:
            answer = AnswerProduced(
                tenant=TENANT,
                conversation=self.name,
                correlation=name,
                status=status,  # type: ignore[arg-type]
                citations=(_QUOTE,) if status == "answered" else (),
                retry_after_ms=retry_after_ms,
                user=user,
            )
            self._put(answer, correlation=name, delay_s=self.rng.uniform(0.2, 20))
        return name

    def do(self, name: str, kind: str) -> None:
        """Do something with an answer, as a page sees it."""
        self.wait(2, 60)
        self._n += 1
        self._put(
            InteractionObserved(tenant=TENANT, conversation=self.name, correlation=name, user="ada", kind=kind)  # type: ignore[arg-type]
        )
        if kind in {"copied", "escalated"}:
            self.wanted.add((name, kind))

    def say(self, name: str, kind: str) -> None:
        """Press a button."""
        self.wait(2, 60)
        self._put(FeedbackGiven(tenant=TENANT, conversation=self.name, correlation=name, user="ada", kind=kind))  # type: ignore[arg-type]

    def _put(self, event: Event, *, correlation: str = "", delay_s: float = 0.0) -> None:
        meta = Meta(
            id=derived("record", self.name, len(self.arriving), event.type_name()),
            type=event.type_name(),
            source="test",
            time_us=self.now_us,
            tenant=TENANT,
            correlation_id=correlation or getattr(event, "correlation", ""),
        )
        late_s = self.rng.uniform(0, POLICY.session_lateness_s * 0.95) if self.rng.random() < 0.15 else 0.0
        delay_s = max(delay_s, late_s, self.rng.uniform(0.01, 2))
        self.arriving.append((self.now_us + round(delay_s * SECOND), attach(event, meta)))


def conversation(seed: int, name: str, topics: Sequence[Topic], reword: Reword | None = None) -> Conversation:
    """A conversation of one to three sessions; `reword` asks the same again where a topic has one phrasing only."""
    rng = random.Random(f"{seed}/{name}")
    found = Conversation(name, rng, BEGIN_US + rng.randrange(3600) * SECOND)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _session(found, rng.choice(topics), reword)
        found.wait(POLICY.session_gap_s * 1.3, POLICY.session_gap_s * 6)
    return found


def _session(chat: Conversation, topic: Topic, reword: Reword | None) -> None:
    rng = chat.rng
    questions = rng.sample(list(topic), min(len(topic), rng.randint(1, 4)))
    for at, phrasings in enumerate(questions):
        last = at == len(questions) - 1
        wordings = list(phrasings)
        rng.shuffle(wordings)
        ended = _question(chat, wordings, last=last, reword=reword)
        if ended:
            return


def _question(chat: Conversation, wordings: list[str], *, last: bool, reword: Reword | None) -> bool:
    """Ask until there is an answer or somebody gives up; whether the session ends with it."""
    rng, text = chat.rng, wordings.pop()
    for attempt in range(3):
        good = rng.random() < 0.55
        if rng.random() < 0.04:  # the worker was not ready: the client asks again by itself
            chat.ask(text, "refused", retry_after_ms=500)
        name = chat.ask(text, "answered" if good else rng.choice(_POOR))
        again = rng.random() < (0.15 if good else 0.6) and attempt < 2
        if again:
            if rng.random() < 0.15:
                chat.do(name, "opened")
            chat.wanted.add((name, "rephrased"))
            text = wordings.pop() if wordings else reword(rng, text) if reword is not None else text
            continue
        return _received_well(chat, name, last=last) if good else _given_up(chat, name, last=last)
    return False


def _received_well(chat: Conversation, name: str, *, last: bool) -> bool:
    rng = chat.rng
    for kind, share in (("copied", 0.3), ("opened", 0.2)):
        if rng.random() < share:
            chat.do(name, kind)
            if rng.random() < 0.3:
                chat.do(name, kind)
    if rng.random() < 0.15:
        chat.say(name, "up")
    if last and rng.random() < 0.3:
        chat.ask(rng.choice(_THANKS), rng.choice(("not_found", "answered", "refused")))
    if last and rng.random() < 0.5:
        chat.do(name, "left")
    return last


def _given_up(chat: Conversation, name: str, *, last: bool) -> bool:
    habit = chat.rng.random()
    if habit < 0.2:
        chat.do(name, "escalated")
    elif habit < 0.3:
        chat.say(name, "down")
    elif habit < 0.5:
        chat.do(name, "left")
        chat.wanted.add((name, "abandoned"))
    elif last:
        chat.wanted.add((name, "abandoned"))
    return last


@dataclass(frozen=True)
class Log:
    """Records of one conversation in the order of their arrival, with places in the log, and what follows from them."""

    records: tuple[Event, ...]
    wanted: frozenset[Label]


def arrived(chat: Conversation, copies: Callable[[], int] = lambda: 1) -> Log:
    """A conversation as its records arrive, each so many times, with what is said of it once it is quiet."""
    quiet = QuietConversations(round(POLICY.session_gap_s * SECOND), round(POLICY.session_lateness_s * SECOND))
    rng = random.Random(f"copies/{chat.name}")
    arriving = [
        (at_us if n == 0 else at_us + rng.randrange(60) * SECOND, event)
        for at_us, event in chat.arriving
        for n in range(copies())
    ]
    places: dict[str, int] = defaultdict(int)
    records: list[Event] = []

    def put(event: Event, at_us: int) -> None:
        topic = _TOPICS[type(event)]
        placed = event.with_meta(msgspec.structs.replace(event.meta, origin=Origin(topic, 0, places[topic])))
        places[topic] += 1
        records.append(placed)
        quiet.note(placed, at_us)

    def pass_until(now_us: int) -> None:
        for due in list(quiet.due(now_us)):
            for _ in range(copies()):
                put(due, now_us)

    for at_us, event in sorted(arriving, key=lambda pair: pair[0]):
        pass_until(at_us)
        put(event, at_us)
    pass_until(max(at_us for at_us, _ in arriving) + 100 * 3600 * SECOND)
    return Log(tuple(records), frozenset(chat.wanted))


def interleaved(records: Sequence[Event], rng: random.Random) -> list[Event]:
    """The same log as somebody reads it who was away: each topic in its order, topics in any."""
    of_topic: dict[str, list[Event]] = defaultdict(list)
    for record in records:
        of_topic[_TOPICS[type(record)]].append(record)
    waiting = [list(reversed(some)) for some in of_topic.values()]
    found = []
    while waiting := [some for some in waiting if some]:
        chosen = rng.choice(waiting)
        found += [chosen.pop() for _ in range(min(len(chosen), rng.randint(1, 5)))]
    return found


def scores(wanted: Mapping[str, set[Label]], found: Mapping[str, set[Label]]) -> Iterator[tuple[str, float, int]]:
    """F1 of each kind over all conversations, and how many there are."""
    for kind in ("rephrased", "abandoned", "copied", "escalated"):
        truth = {(name, label) for name, labels in wanted.items() for label in labels if label[1] == kind}
        said = {(name, label) for name, labels in found.items() for label in labels if label[1] == kind}
        yield kind, 2 * len(truth & said) / max(1, len(truth) + len(said)), len(truth)


def conclusion(event: Any) -> Label:
    """Label of a conclusion."""
    return (event.correlation, event.kind)
