"""Put together what a tenant's questions of some weeks say."""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from millrace.analytics.clusters import Vectors, centre
from millrace.analytics.few import hidden
from millrace.analytics.intents import intent_of
from millrace.analytics.masking import Find, masked, without_masks
from millrace.analytics.questions import WEEK_US, Asked, week_name, week_of
from millrace.analytics.reading import Collected
from millrace.analytics.summary import MISSING, AnalysisOptions, Report, TenantReport, Topic, Unanswered
from millrace.analytics.topics import APART, Followed, Known
from millrace.analytics.usage import usage_of
from millrace.analytics.words import distinctive


class Analyst:
    """Analyses one tenant's questions.

    Parameters
    ----------
    weeks : sequence of int
        Begins of all weeks of the range, unix microseconds.
    options : AnalysisOptions
        What may be shown.
    find : callable, optional
        Finds personal data in a text.
    """

    def __init__(self, weeks: Sequence[int], options: AnalysisOptions, find: Find | None = None) -> None:
        self._weeks = {week: number for number, week in enumerate(weeks)}
        self._options = options
        self._find = find

    def tenant(self, tenant: str, questions: Sequence[Asked], before: TenantReport | None = None) -> TenantReport:
        """Analyse the questions of a tenant, in order of time.

        Parameters
        ----------
        tenant : str
            Whose.
        questions : sequence of Asked
            All of them.
        before : TenantReport, optional
            The report before: topics that go on keep their ids and names.
        """
        models = Counter(asked.model for asked in questions if asked.vector).most_common(1)
        model = models[0][0] if models else ""  # vectors of different models cannot be compared
        sampled = [asked for asked in questions if asked.vector and asked.model == model]
        followed = Followed(_known(before) if before is not None and before.model == model else ())
        groups = self._grouped(sampled, followed)
        apart = groups.pop(APART, [])
        texts = {id(asked): masked(asked, self._find) for asked in sampled}
        shown = {at: found for at, found in groups.items() if self._may_show(found)}
        names = self._names(shown, texts, followed.topics)
        topics = [self._topic(followed.topics[at], names[at], found, texts) for at, found in shown.items()]
        inside = {id(asked) for found in shown.values() for asked in found}
        rest = [asked for asked in questions if id(asked) not in inside]
        return TenantReport(
            tenant=tenant,
            model=model,
            n=len(questions),
            topics=tuple(sorted(topics, key=lambda topic: (-topic.n, topic.name, topic.id))),
            other=self._topic(Known("", np.zeros(0, np.float32), 1.0), "", rest, texts),
            n_few=len(groups) - len(shown),
            n_apart=len(apart),
            n_not_sampled=len(questions) - len(sampled),
            by_intent=_counted(intent_of(texts[id(asked)]) for asked in sampled),
            by_status=_counted(asked.status or MISSING for asked in questions),
            unanswered=self._unanswered(shown, names, followed.topics, texts),
            usage=usage_of(questions, tuple(self._weeks), self._options.crowd),
        )

    def _grouped(self, sampled: Sequence[Asked], followed: Followed) -> dict[int, list[Asked]]:
        weeks: list[list[Asked]] = [[] for _ in self._weeks]
        for asked in sampled:
            weeks[self._weeks[asked.week_us]].append(asked)
        labels = followed.weeks([_vectors(week) for week in weeks])
        groups: dict[int, list[Asked]] = {}
        for week, topics in zip(weeks, labels, strict=True):
            for asked, topic in zip(week, topics, strict=True):
                groups.setdefault(int(topic), []).append(asked)
        return groups

    def _may_show(self, questions: Sequence[Asked]) -> bool:
        return len({asked.person for asked in questions}) >= self._options.least_people

    @property
    def _least_of_a_word(self) -> int:
        """People who must have used a word: without a finder, it may be anything."""
        return self._options.crowd if self._find is not None else self._options.least_people

    def _names(
        self, shown: Mapping[int, Sequence[Asked]], texts: Mapping[int, str], known: Sequence[Known]
    ) -> dict[int, str]:
        groups = {
            at: [(asked.person, without_masks(texts[id(asked)])) for asked in found] for at, found in shown.items()
        }
        words = distinctive(groups, least_people=self._least_of_a_word)
        return {at: known[at].name or ", ".join(words[at]) or f"topic {known[at].id[:4]}" for at in shown}

    def _topic(self, known: Known, name: str, questions: Sequence[Asked], texts: Mapping[int, str]) -> Topic:
        return Topic(
            id=known.id,
            name=name,
            n=len(questions),
            n_people=len({asked.person for asked in questions}),
            by_week=self._by_week(questions),
            by_intent=_counted(intent_of(texts[id(asked)]) for asked in questions if id(asked) in texts),
            by_status=_counted(asked.status or MISSING for asked in questions),
            by_stage=_counted(asked.stage for asked in questions if asked.stage),
            n_poor=sum(asked.poor for asked in questions),
            n_outside=sum(asked.outside_corpus for asked in questions),
            examples=self._examples(questions, known.centre, texts) if name else (),
            centre=base64.b64encode(known.centre.astype("<f4").tobytes()).decode() if name else "",
            reach=known.reach if name else 1.0,
        )

    def _by_week(self, questions: Sequence[Asked]) -> tuple[int | None, ...]:
        weeks: list[list[str]] = [[] for _ in self._weeks]
        for asked in questions:
            weeks[self._weeks[asked.week_us]].append(asked.person)
        few = hidden([set(people) for people in weeks], self._options.crowd)
        return tuple(None if at in few else len(people) for at, people in enumerate(weeks))

    def _unanswered(
        self,
        shown: Mapping[int, Sequence[Asked]],
        names: Mapping[int, str],
        known: Sequence[Known],
        texts: Mapping[int, str],
    ) -> tuple[Unanswered, ...]:
        missing = {at: [asked for asked in found if asked.outside_corpus] for at, found in shown.items()}
        told = {at: found for at, found in missing.items() if found and self._may_show(found)}
        words = self._set_apart(told, shown, texts)
        found = [
            Unanswered(
                topic=known[at].id,
                name=names[at],
                words=tuple(words[at]) if at in told else (),
                n=len(asked),
                share=len(asked) / len(shown[at]),
                n_people=len({each.person for each in asked}),
                examples=self._examples(asked, centre(_vectors(asked)), texts) if at in told else (),
            )
            for at, asked in missing.items()
            if asked
        ]
        return tuple(sorted(found, key=lambda each: (-each.n, -each.share, each.name)))

    def _set_apart(
        self, told: Mapping[int, Sequence[Asked]], shown: Mapping[int, Sequence[Asked]], texts: Mapping[int, str]
    ) -> dict[int, list[str]]:
        """Words of a topic's unanswered questions that its answered ones do without."""
        words = {}
        for at, missing in told.items():
            gone = {id(asked) for asked in missing}
            sides: dict[int, list[tuple[str, str]]] = {True: [], False: []}
            for asked in shown[at]:
                sides[id(asked) in gone].append((asked.person, without_masks(texts[id(asked)])))
            words[at] = distinctive(sides, least_people=self._least_of_a_word)[True]
        return words

    def _examples(self, questions: Sequence[Asked], middle: Vectors, texts: Mapping[int, str]) -> tuple[str, ...]:
        """The most central questions, each once; those with nothing masked first."""
        if not self._options.examples or not questions:
            return ()
        near = _vectors(questions) @ middle
        order = sorted(range(len(questions)), key=lambda at: (_was_masked(questions[at], texts), -near[at], at))
        found = dict.fromkeys(texts[id(questions[at])] for at in order)
        return tuple(found)[: self._options.n_examples]


def analyse(
    collected: Collected,
    weeks: Sequence[int],
    options: AnalysisOptions,
    *,
    find: Find | None = None,
    before: Report | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[TenantReport, ...]:
    """Analyse every tenant's questions apart.

    Parameters
    ----------
    collected : Collected
        The questions.
    weeks : sequence of int
        Begins of all weeks of the range, unix microseconds.
    options : AnalysisOptions
        What may be shown.
    find : callable, optional
        Finds personal data in a text.
    before : Report, optional
        The report before: topics that go on keep their ids and names.
    progress : callable, optional
        ``progress(n_tenants_done, n_tenants)``.
    """
    analyst = Analyst(weeks, options, find)
    earlier = {each.tenant: each for each in before.tenants} if before is not None else {}
    if before is not None and (
        before.options.least_people < options.least_people or before.options.crowd < options.crowd
    ):
        earlier = {tenant: _without_names(each) for tenant, each in earlier.items()}
    found = []
    for tenant in collected.tenants:
        own = [asked for asked in collected.questions if asked.tenant == tenant]
        found.append(analyst.tenant(tenant, own, earlier.get(tenant)))
        if progress is not None:
            progress(len(found), len(collected.tenants))
    return tuple(found)


def weeks_of(from_us: int, to_us: int) -> tuple[int, ...]:
    """Begins of all weeks that a range touches, unix microseconds."""
    return tuple(range(week_of(from_us), max(to_us, from_us + 1), WEEK_US))


def week_names(weeks: Iterable[int]) -> tuple[str, ...]:
    """ISO names of weeks."""
    return tuple(map(week_name, weeks))


def _known(report: TenantReport) -> list[Known]:
    return [
        Known(topic.id, np.frombuffer(base64.b64decode(topic.centre), dtype="<f4"), topic.reach, topic.name)
        for topic in report.topics
        if topic.centre
    ]


def _without_names(report: TenantReport) -> TenantReport:
    """A report whose topics go on without the words of as few people as its options allowed."""
    topics = tuple(msgspec.structs.replace(topic, name="") for topic in report.topics)
    return msgspec.structs.replace(report, topics=topics)


def _vectors(questions: Sequence[Asked]) -> Vectors:
    joined = b"".join(asked.vector for asked in questions)
    return np.frombuffer(joined, dtype="<f4").reshape(len(questions), -1) if questions else np.zeros((0, 1), np.float32)


def _was_masked(asked: Asked, texts: Mapping[int, str]) -> bool:
    return texts[id(asked)] != asked.text


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
