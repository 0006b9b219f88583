"""What became of every record that was sent: judged from the topics alone, whatever a peer says of itself."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

Kind = Literal["good", "slow", "failing", "poison"]
GOOD: frozenset[Kind] = frozenset({"good", "slow"})


class Sent(msgspec.Struct, frozen=True):
    """An acknowledged record of the source.

    Attributes
    ----------
    sequence : int
        Its number, in the order of sending.
    kind : {"good", "slow", "failing", "poison"}
        What it does to whoever handles it.
    key, value : bytes
        As they were sent.
    partition, offset : int
        Where it stands.
    """

    sequence: int
    kind: Kind
    key: bytes
    value: bytes
    partition: int
    offset: int


class Answer(msgspec.Struct, frozen=True):
    """A record of the sink: which sequence it answers, and where it stands."""

    sequence: int
    key: bytes
    partition: int
    offset: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer did with the records.

    Attributes
    ----------
    n, n_bad : int
        Records, and those of them that nobody can answer.
    lost : int
        Neither answered nor dead-lettered, though a later one of their partition was: nobody will look at them again.
    blocked : int
        Neither answered nor dead-lettered, and nothing after them either: they wait for ever.
    repeated : int
        Answers beyond the first of each record.
    letters : int
        Bad records that are among the dead letters with their very bytes.
    ordered : bool
        Whether the first answers of each key came in the order of the source.
    """

    n: int
    n_bad: int
    lost: int
    blocked: int
    repeated: int
    letters: int
    ordered: bool

    @property
    def flows(self) -> bool:
        """Whether everything got somewhere."""
        return not self.blocked


def judge(sent: Sequence[Sent], answers: Iterable[Answer], letters: Collection[bytes]) -> Verdict:
    """Compare what was sent with what came of it.

    Parameters
    ----------
    sent : sequence of Sent
        Everything that was acknowledged.
    answers : iterable of Answer
        A full scan of the sink.
    letters : collection of bytes
        Values of all dead letters.
    """
    found = sorted(answers, key=lambda each: (each.partition, each.offset))
    counts = Counter(each.sequence for each in found)
    kept = set(letters)
    bad = [each for each in sent if each.kind not in GOOD]
    settled = {each.sequence for each in sent if counts[each.sequence] or each.value in kept}
    reached: dict[int, int] = defaultdict(lambda: -1)
    for each in sent:
        if each.sequence in settled:
            reached[each.partition] = max(reached[each.partition], each.offset)
    missing = [each for each in sent if each.sequence not in settled]
    lost = sum(each.offset < reached[each.partition] for each in missing)
    return Verdict(
        n=len(sent),
        n_bad=len(bad),
        lost=lost,
        blocked=len(missing) - lost,
        repeated=sum(counts.values()) - len(counts),
        letters=sum(each.value in kept for each in bad),
        ordered=_ordered(found),
    )


def _ordered(answers: Iterable[Answer]) -> bool:
    last: dict[bytes, int] = {}
    seen: set[int] = set()
    for each in answers:
        if each.sequence in seen:
            continue
        seen.add(each.sequence)
        if last.get(each.key, -1) > each.sequence:
            return False
        last[each.key] = each.sequence
    return True
