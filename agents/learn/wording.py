"""Whether two questions in English ask the same in other words: by their words alone, pure.

A question is what it asks for (a person, a time, a number, a reason, ...), the names and numbers in it, and the rest
of its words, of which rare ones weigh more. Questions that ask for something else, or that name something else, are
different however alike they sound; otherwise the share of weight that both have in common decides.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from agents.lexical import terms

_SILENT: Final = frozenset(
    """a an the this that these those it its there here of in on at to from by for with about into as than then and or
    but if so do does did doing done be is are was were been being am have has had having can could may might must shall
    should will would i me my mine we us our you your they them their he him his she her s t d ll re ve m not no yes
    any some all please tell know want need say said mean meant meaning again still just really actually exactly
    rather sorry ok okay hi hello hey help find give show look question ask answer explain let get got specifically
    once more other word put another differently try trying see sure which what whose""".split()  # noqa: SIM905
)
"""Words that say nothing about what is asked for; in the singular, as `agents.lexical.terms` gives them."""

_ASKS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("who", "whom", "whose", "person", "people", "somebody"), "person"),
    **dict.fromkeys(("when", "year", "date", "day", "month", "century", "decade"), "time"),
    **dict.fromkeys(("where", "place", "location", "located", "city", "country", "site"), "place"),
    **dict.fromkeys(("why", "reason", "cause", "purpose"), "reason"),
    **dict.fromkeys(("how many", "number", "count", "how much", "amount", "total", "quantity"), "number"),
    **dict.fromkeys(("how long", "length", "duration", "how often"), "duration"),
    **dict.fromkeys(("cost", "price", "fee", "how expensive", "expensive"), "price"),
}
_HOW: Final = frozenset({"many", "much", "long", "often", "expensive", "big", "large", "old", "far", "high", "tall"})
_COURTESY: Final = frozenset(
    """thank thanks thx cheer great perfect good nice cool awesome super wonderful brilliant excellent helpful helped
    that help very much lot so ok okay bye goodbye you got it all for now yes fine appreciate appreciated a thats s
    work works me i is was what needed wanted exactly the""".split()  # noqa: SIM905
)
_THANKS: Final = frozenset(
    """thank thanks thx cheer great perfect awesome brilliant excellent helpful bye goodbye appreciate
    appreciated wonderful""".split()  # noqa: SIM905
)
_COMMON: Final = frozenset(
    """time year day people way man thing woman life child world school state family student group country problem
    hand part place case week company system program work government number night point home water room mother area
    money story fact month lot right study book eye job word business issue side kind head house service friend father
    power hour game line end member law car city community name president team minute idea kid body information back
    parent face other level office door health person art war history party result change morning reason research girl
    guy moment air teacher force education first last new old good bad long great little own big high different small
    large next early young important few public same able use make take go come think become leave feel call
    ask seem turn start play run move like live believe hold bring happen write provide sit stand lose pay meet include
    continue set learn lead understand watch follow stop create speak read allow add spend grow open walk win offer
    type main used made called""".split()  # noqa: SIM905
)
_NUMBERS: Final = {
    word: str(value)
    for value, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())  # noqa: SIM905
}  # fmt: skip
_RARE: Final = 2.0
_NAME: Final = 3.0
_TYPO_FROM: Final = 5
_STEM: Final = 5
_MISSING_NAME: Final = 0.6
_WHETHER: Final = frozenset(
    """is are was were do doe does did can could may might must will would shall should has have""".split()  # noqa: SIM905
)
_UNSAID: Final = 0.85
"""What is left of a likeness where one question says what kind of thing it asks for, and the other one does not."""


class Wording(msgspec.Struct, frozen=True):
    """What a question says.

    Attributes
    ----------
    asks : frozenset of str
        Kinds of thing it asks for, as far as its words tell.
    names, numbers : frozenset of str
        Names (words with capitals within a sentence, and acronyms) and numbers.
    words : mapping of str to float
        Its other words that say something, names and numbers included, with their weights.
    """

    asks: frozenset[str]
    names: frozenset[str]
    numbers: frozenset[str]
    words: Mapping[str, float]


@lru_cache(maxsize=4_096)
def wording(question: str) -> Wording:
    """Take a question apart."""
    found = [_NUMBERS.get(term, term) for term in terms(question)]
    names = _names(question)
    numbers = frozenset(word for word in found if any(each.isdigit() for each in word))
    asks, spent = _asked_for(found)
    words: dict[str, float] = {}
    for word in found:
        if word in spent or (word in _SILENT and word not in names) or (len(word) < 2 and word not in numbers):
            continue
        named = word in names or word in numbers
        words[word] = _NAME if named else 1.0 if word in _COMMON else _RARE
    return Wording(asks, names, numbers, words)


def likeness(one: str, other: str) -> float:
    """How much two questions ask the same, 0 to 1; 0 where they ask for, name or number something else."""
    a, b = wording(one), wording(other)
    if not a.words or not b.words:
        return 1.0 if terms(one) == terms(other) else 0.0
    if (a.asks and b.asks and not a.asks & b.asks) or _differ(a.numbers, b.numbers):
        return 0.0
    both = _shared(a.words, b.words)
    one_lacks = _lacking(a.names, both.values())
    other_lacks = _lacking(b.names, both)
    if one_lacks and other_lacks:
        return 0.0
    weight_a, weight_b = sum(a.words.values()), sum(b.words.values())
    shared_a = sum(a.words[word] for word in both.values())
    shared_b = sum(b.words[word] for word in both)
    found = (shared_a + shared_b) / (weight_a + weight_b)
    if bool(a.asks) != bool(b.asks):
        found *= _UNSAID
    return found * _MISSING_NAME if (one_lacks or other_lacks) and found < _MISSING_NAME else found


def is_courtesy(text: str) -> bool:
    """Whether it is thanks or a goodbye rather than a question."""
    found = terms(text)
    return bool(found) and len(found) <= 12 and not set(found) - _COURTESY and bool(set(found) & _THANKS)


def _names(question: str) -> frozenset[str]:
    """Words with a capital that a sentence does not begin with; none where everything is written in capitals."""
    if question.isupper():
        return frozenset()
    found: set[str] = set()
    begins = True
    for raw in question.split():
        word = raw.strip("\"'()[]{},;:?!.\u201c\u201d\u2018\u2019")
        if word[:1].isupper() and (not begins or (len(word) > 1 and word.isupper())):
            found |= {term for term in terms(word) if len(term) > 1 and term not in _SILENT and term not in _ASKS}
        begins = raw.endswith((".", "?", "!", ":"))
    return frozenset(found)


def _asked_for(found: list[str]) -> tuple[frozenset[str], Collection[str]]:
    """Kinds of thing asked for, and the words that said so."""
    asks: set[str] = set()
    spent: set[str] = set()
    for at, word in enumerate(found):
        pair = f"{word} {found[at + 1]}" if at + 1 < len(found) else word
        kind = _ASKS.get(pair) or _ASKS.get(word)
        if kind is not None:
            asks.add(kind)
            spent |= set(pair.split()) if pair in _ASKS else {word}
        elif word == "how":
            spent.add(word)
            if at + 1 < len(found) and found[at + 1] not in _HOW:
                asks.add("manner")
    if not asks and found[:1] and found[0] in _WHETHER and "you" not in found[1:2]:
        asks.add("whether")
    return frozenset(asks), spent


def _differ(one: Collection[str], other: Collection[str]) -> bool:
    return bool(one) and bool(other) and set(one) != set(other)


def _lacking(names: Collection[str], found: Collection[str]) -> set[str]:
    return set(names) - set(found)


def _shared(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, str]:
    """Words of `b` that `a` has too, each with the word of `a` that it is."""
    both = {word: word for word in b if word in a}
    left = [word for word in a if word not in both]
    for word in b:
        if word not in both and (found := next((each for each in left if _alike(each, word)), None)) is not None:
            both[word] = found
            left.remove(found)
    return both


def _alike(one: str, other: str) -> bool:
    """Whether two words are forms of one word, or one of them is the other with a slip of the pen."""
    if min(len(one), len(other)) < _TYPO_FROM or any(each.isdigit() for each in one + other):
        return False
    return one[:_STEM] == other[:_STEM] or _one_slip(one, other)


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter was left out, put in, changed or swapped with the next one."""
    if abs(len(one) - len(other)) > 1:
        return False
    first = next((at for at, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    rest_one, rest_other = one[first:], other[first:]
    swapped = rest_one[1::-1] + rest_one[2:] == rest_other
    return swapped or rest_one[1:] == rest_other[1:] or rest_one[1:] == rest_other or rest_one == rest_other[1:]
