"""Words of questions: which are content, which language they are of, and which set one group apart from the others."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import log
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
FUNCTION_WORDS: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """a about after again all also am an and any are as at be because been before being between both but
        by can could did do does doing down during each few for from further had has have having he her here
        hers him his how i if in into is it its itself me might more most must my no nor not of off on once
        only or other our out over own shall she should so some such than that the their them then there
        these they this those through to too under until up upon us very was we were what when where which
        while who whom whose why will with within without would you your""",
        "de": """aber als am an auch auf aus bei bin bis da das dass dem den der des die dies diese ein eine einem
        einen einer er es für haben hat ich ihr im in ist ja kann man mein mit nach nicht noch nur oder sein
        sich sie sind über um und uns von vor wann war warum was wer wie wieviel wir wird wo woher zu zum
        zur""",
        "fr": """a à au aux avec ce ces comment dans de des du elle en est et il je la le les leur mais mon ne nous
        on où ou par pas pour pourquoi quand que quel quelle quels qui sa se ses son sont sur un une vous""",
        "es": """a al como cómo con cuál cuándo cuánto de del dónde el ella en es esta este la las lo los mi no nos o
        para pero por porque qué que quién se si sin son su sus un una y yo""",
        "it": """a al che chi come con cosa da dal dei del della di dove e è gli ho i il in la le lo ma mi nel non o
        perché per quale quando quanto se si sono su tra un una""",
        "pt": """a ao as com como da das de do dos e é ela ele em eu mas na não no nos o onde os ou para por porque
        quais qual quando quanto que quem se são seu sua um uma""",
        "nl": """aan als bij dat de deze die dit door een en er had heb het hij hoe hoeveel ik in is kan maar met
        mijn naar niet of om ons ook op te tot uit van voor waar waarom wanneer was wat we welke wie worden
        zijn""",
    }.items()
}
"""Words that carry no topic, by language; what a text has most of tells its language."""
_TALK_WORDS: Final = (
    "ask best explain find get give happen happened kind know like list long many much name need often one "
    "please say show tell thing things thank thanks type use used using want way "
)
_TALK: Final = frozenset(_TALK_WORDS.split())
_COMMON: Final = _TALK | FUNCTION_WORDS["en"]


def language_of(text: str) -> str:
    """Language of a question by its function words: a code of `FUNCTION_WORDS`, or ``und`` where they do not tell."""
    words = [word.lower() for word in _WORD.findall(text)]
    counts = {code: sum(word in known for word in words) for code, known in FUNCTION_WORDS.items()}
    best = max(counts, key=lambda code: (counts[code], code == "en"))
    return best if counts[best] else "und"


def content_words(text: str) -> list[str]:
    """Words of a text that can carry a topic, in lower case and in order.

    Numbers are none: they name nothing, and may be somebody's.
    """
    language = language_of(text)
    common = _COMMON | FUNCTION_WORDS.get(language, frozenset())
    words = (word.lower().removesuffix("'s") for word in _WORD.findall(text.replace("\u2019", "'")))
    return [word for word in words if len(word) > 1 and word not in common]


def terms(text: str) -> set[str]:
    """Content words of a text."""
    return set(content_words(text))


def folded(word: str) -> str:
    """A word without its plural, so that both forms count as one."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def distinctive(
    groups: Mapping[int, Sequence[tuple[str, str]]], *, n_words: int = 3, least_people: int = 3
) -> dict[int, list[str]]:
    """Words that set each group apart: class-based TF-IDF (Grootendorst, arXiv:2203.05794) over people.

    ``weight(word, group) = share of the group's people who used it * log(1 + mean size / people who used it anywhere)``

    Parameters
    ----------
    groups : mapping of int to sequence of (person, text)
        Masked questions.
    n_words : int
        How many words a group gets at most.
    least_people : int
        A word that fewer people of a group used is not shown for it: what one or two write may be theirs, such as a
        surname.

    Returns
    -------
    dict of int to list of str
        In order of weight; of equal weight in order of the alphabet.
    """
    used: dict[int, dict[str, set[str]]] = {}
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for group, questions in groups.items():
        people: dict[str, set[str]] = defaultdict(set)
        for person, text in questions:
            for word in terms(text):
                people[folded(word)].add(person)
                forms[folded(word)][word] += 1
        used[group] = people
    total = Counter(word for people in used.values() for word, who in people.items() for _ in who)
    sizes = {group: len({person for person, _ in questions}) for group, questions in groups.items()}
    mean = sum(total.values()) / max(1, len(groups))
    found = {}
    for group, people in used.items():
        weights = {
            word: len(who) / sizes[group] * log(1 + mean / total[word])
            for word, who in people.items()
            if len(who) >= least_people
        }
        best = sorted(weights, key=lambda word: (-weights[word], word))[:n_words]
        found[group] = [_shown(forms[word]) for word in best]
    return found


def _shown(forms: Counter[str]) -> str:
    """The form that is used most."""
    return min(forms, key=lambda form: (-forms[form], form))
