"""What should not be trained on: duplicates, contradictions, imbalance, leaks between splits and of personal data."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from millrace.events.learn import ExampleCurated
from millrace.examples.content import ExampleContent
from millrace.examples.curated import Loaded
from millrace.examples.signatures import near_pairs
from millrace.findings import Finding

Find = Callable[[str], Sequence[Finding]]
BALANCED_BY: Final = ("source", "label", "language", "user")
_WORD: Final = re.compile(r"\w+").findall
_NUMBER: Final = re.compile(r"\d+").findall
_LOOKED_FOR: Final = frozenset({"personal_data", "secret"})

Held = tuple[ExampleCurated, ExampleContent]


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong with some examples.

    Attributes
    ----------
    check : str
        duplicate, near_duplicate, contradiction, imbalance, split or personal_data.
    message : str
        What is wrong; never the personal data itself.
    examples : tuple of str
        Ids of the examples; none where it is about all of them.
    """

    check: str
    message: str
    examples: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From where on something is wrong.

    Attributes
    ----------
    similarity : float
        Least Jaccard index of near-duplicates.
    share : float
        Most that one source, label, language or user may have, where there are several.
    least : int
        From so many examples on, balance is judged.
    """

    similarity: float = 0.8
    share: float = 0.8
    least: int = 20


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of all checks.

    Attributes
    ----------
    n_examples, n_missing : int
        Examples that were looked at, and those whose objects were erased.
    shares : mapping
        Share of each value of what balance is judged by, largest first.
    problems : tuple of Problem
        What is wrong.
    """

    n_examples: int
    n_missing: int
    shares: Mapping[str, Mapping[str, float]]
    problems: tuple[Problem, ...]


def check(loaded: Iterable[Loaded], find: Find | None, limits: Limits | None = None) -> Checked:
    """Look at examples before something is trained on them.

    Parameters
    ----------
    loaded : iterable
        Examples with their contents.
    find : callable or None
        Finds personal data; None to look for none.
    limits : Limits, optional
        From where on something is wrong.
    """
    limits, every = limits or Limits(), list(loaded)
    held = [(example, content) for example, content in every if content is not None]
    shares = {name: _shares(held, name) for name in BALANCED_BY}
    problems = [
        *_repeated(held),
        *_near(held, limits.similarity),
        *_imbalance(shares, len(held), limits),
        *_leaks_between_splits(held),
        *(_personal_data(held, find) if find is not None else ()),
    ]
    return Checked(n_examples=len(held), n_missing=len(every) - len(held), shares=shares, problems=tuple(problems))


def _repeated(held: Sequence[Held]) -> Iterator[Problem]:
    """The same question under the same labels, more than once."""
    asked: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for example, content in held:
        asked[_normal(content.question), repr(sorted(content.labels.items()))].append((example, content))
    for same in asked.values():
        if len(same) > 1:
            n_targets = len({_normal(content.target) for _, content in same})
            kind, what = ("duplicate", "one target") if n_targets == 1 else ("contradiction", f"{n_targets} targets")
            yield Problem(kind, f"{len(same)} examples of one question with {what}", _ids(same))


def _near(held: Sequence[Held], least: float) -> Iterator[Problem]:
    for one, other in near_pairs([example.signature for example, _ in held], least):
        pair = (held[one], held[other])
        questions = {_normal(content.question) for _, content in pair}
        numbers = {tuple(sorted(set(_NUMBER(f"{content.question} {content.target}")))) for _, content in pair}
        labels = {repr(sorted(content.labels.items())) for _, content in pair}
        if len(questions) == 2 and len(numbers) == len(labels) == 1:
            yield Problem("near_duplicate", "two examples say nearly the same", _ids(pair))


def _shares(held: Sequence[Held], name: str) -> dict[str, float]:
    counted = Counter(str(getattr(example, name)) for example, _ in held)
    return {value: n / len(held) for value, n in counted.most_common()}


def _imbalance(shares: Mapping[str, Mapping[str, float]], n: int, limits: Limits) -> Iterator[Problem]:
    for name, found in shares.items():
        largest = next(iter(found), "")
        if n >= limits.least and len(found) > 1 and found[largest] > limits.share:
            yield Problem(
                "imbalance",
                f"{name} {largest or '(none)'!r} has {found[largest]:.0%} of {n} examples, at most {limits.share:.0%} "
                "are allowed; collect others, or export fewer of it",
            )


def _leaks_between_splits(held: Sequence[Held]) -> Iterator[Problem]:
    """Documents whose text, and questions that, stand in both splits."""
    splits: dict[tuple[str, str], dict[str, list[Held]]] = defaultdict(lambda: defaultdict(list))
    for example, content in held:
        documents = {example.document, *(passage.document for passage in content.context)} - {""}
        for unit in (*(("document", name) for name in sorted(documents)), ("question", _normal(content.question))):
            splits[unit][example.split].append((example, content))
    for (kind, name), found in splits.items():
        if len(found) > 1 and (kind == "document" or _same_target(found)):
            which = f"document {name!r}" if kind == "document" else "one question with one target"
            yield Problem(
                "split", f"{which} is in both splits", _ids([held for some in found.values() for held in some])
            )


def _same_target(found: Mapping[str, Sequence[Held]]) -> bool:
    targets = [{_normal(content.target) for _, content in some} for some in found.values()]
    return bool(set.intersection(*targets))


def _personal_data(held: Sequence[Held], find: Find) -> Iterator[Problem]:
    for example, content in held:
        texts = [content.question, content.target]
        texts += [text for passage in content.context for text in (passage.heading, passage.text)]
        rules = {finding.rule for text in texts for finding in find(text) if finding.kind in _LOOKED_FOR}
        if rules:
            yield Problem("personal_data", f"it holds {', '.join(sorted(rules))}", (example.example,))


def _ids(held: Sequence[Held]) -> tuple[str, ...]:
    return tuple(example.example for example, _ in held)


def _normal(text: str) -> str:
    return " ".join(_WORD(text.casefold()))
