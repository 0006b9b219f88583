"""Ways in which people ask the same again, for questions that nobody wrote a second time. TRIED and HELD_OUT differ."""

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

Reword = Callable[[random.Random, str], str]
_LITTLE: Final = frozenset(
    """a an the is are was were do does did of in on at to for by what which who whom when where why how that
    be been has have had it its and or with from as""".split()  # noqa: SIM905
)


def _body(question: str) -> str:
    return question.strip().rstrip("?. ").strip()


def _lowered(question: str) -> str:
    text = _body(question)
    first = text.split(" ", 1)[0]
    return text if first.isupper() and len(first) > 1 else text[:1].lower() + text[1:]


def _substituted(pairs: Sequence[tuple[str, str]], otherwise: Reword) -> Reword:
    def reword(rng: random.Random, question: str) -> str:
        for pattern, other in pairs:
            changed, n = re.subn(pattern, other, _body(question), count=1, flags=re.IGNORECASE)
            if n:
                return f"{changed[:1].upper()}{changed[1:]}?"
        return otherwise(rng, question)

    return reword


def _keywords(_: random.Random, question: str) -> str:
    words = _body(question).split()
    asked = next((word.lower() for word in words if word.lower() in {"who", "when", "where", "why"}), "")
    return " ".join([word for word in words if word.lower() not in _LITTLE] + [asked]).strip()


def _prefixed(*prefixes: str) -> Reword:
    return lambda rng, question: rng.choice(prefixes).format(_lowered(question))


def _slip(rng: random.Random, question: str) -> str:
    """A letter of a longer word is left out or swapped with the next one."""
    words = _body(question).split()
    long = [at for at, word in enumerate(words) if len(word) > 6 and word.isalpha() and word.islower()]
    if not long:
        return f"So, {_lowered(question)}?"
    at = rng.choice(long)
    cut = rng.randrange(2, len(words[at]) - 2)
    word = words[at]
    words[at] = word[:cut] + (word[cut + 1 :] if rng.random() < 0.5 else word[cut + 1] + word[cut] + word[cut + 2 :])
    return " ".join(words) + "?"


def _shorter(rng: random.Random, question: str) -> str:
    words = _body(question).split()
    droppable = [at for at, word in enumerate(words) if at > 1 and word.islower() and word not in _LITTLE]
    if len(droppable) < 3:
        return f"{_body(question)}??"
    del words[rng.choice(droppable)]
    return " ".join(words) + "?"


def _fronted(_: random.Random, question: str) -> str:
    """The last words first: "About X: ..."."""
    words = _body(question).split()
    if len(words) < 6:
        return f"Once more please: {_lowered(question)}?"
    return f"About {' '.join(words[-3:])}: {_lowered(' '.join(words[:-3]))}?"


def _careless(rng: random.Random, question: str) -> str:
    return _slip(rng, question).lower().rstrip("?")


_OTHER_WORDS: Final = (
    (r"\bhow many\b", "what number of"),
    (r"^when (did|was|were|is|does|do)\b", r"in what year \1"),
    (r"^who\b", "which person"),
    (r"^where\b", "in which place"),
    (r"^why\b", "for what reason"),
    (r"\bwhat year\b", "when, which year,"),
)
_YET_OTHER_WORDS: Final = (
    (r"\bhow many\b", "what is the total count of"),
    (r"^in what year\b", "when"),
    (r"^what year\b", "on what date"),
    (r"^when\b", "what was the date when"),
    (r"^who\b", "what is the name of the person who"),
    (r"^where\b", "what is the location where"),
    (r"^why\b", "what is the cause that"),
    (r"^what (is|was) the\b", r"which \1 the"),
    (r"\bmost\b", "the largest part"),
    (r"\bbegin\b", "start"),
    (r"\bused\b", "utilised"),
)
TRIED: Final[Sequence[Reword]] = (
    _keywords,
    _prefixed("Sorry, I meant: {}?", "Can you tell me {}?", "I want to know {}."),
    _shorter,
    _slip,
    _substituted(_OTHER_WORDS, _keywords),
)
HELD_OUT: Final[Sequence[Reword]] = (
    _fronted,
    _careless,
    _prefixed("That is not what I need. {}?", "In other words, {}?", "Could you please look up {}?", "{}!?"),
    _substituted(_YET_OTHER_WORDS, _prefixed("Look again: {}?")),
)


def any_of(ways: Sequence[Reword]) -> Reword:
    """One of these ways, by chance."""
    return lambda rng, question: rng.choice(ways)(rng, question)
