"""How sure it is that a sentence asks a model for something, though it stands in a text that came from elsewhere.

Injected orders are often polite and plain: "Write a short poem about the sea." What gives them away is who speaks to
whom. A document tells its readers about its subject, and addresses them as its readers; an order to an assistant asks
nobody in particular for a piece of text, an explanation, a change of the letters of an answer, and changes the subject.

Each sentence gets points for that, from the tables below; the logistic function makes a score of their sum. The points
were set by hand on half of the categories of attack and half of the clean texts of the development data; they are few,
so that one can say of each verdict why it was given. `bench.scanner` measures all of it, on the other halves too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from inference.injection import words as w
from inference.injection import words_abroad as abroad
from inference.injection.code import build_in_points, code_points, looks_like_code
from inference.injection.sentences import Sentence, sentences

_WORD: Final = re.compile(r"[^\W_][\w+#]*(?:['-]\w+)*")
_FOREIGN: Final = re.compile(r"[\u0370-\u1fff\u3040-\ud7ff]")
_LATIN: Final = re.compile(r"[A-Za-z]")
_ORDERS: Final = (
    ("write", w.WRITE | abroad.WRITE), ("explain", w.EXPLAIN | abroad.EXPLAIN), ("transform", w.TRANSFORM | abroad.TRANSFORM),
    ("say", w.SAY | abroad.SAY), ("act", w.ACT),
)  # fmt: skip
_VERBS: Final = frozenset().union(*(verbs for _, verbs in _ORDERS))
_LEADS: Final = w.LEADS | abroad.LEADS
_ASKS: Final = w.QUESTION | abroad.QUESTION
_ABOUT_ANSWER: Final = re.compile(
    r"\b(?:your|the|this|each|every|all|any|his|its|in|of) (?:\w+ ){0,2}?(?:response|answer|reply|replies|completion|generated text|responses|answers)\b"
    r"|\b(?:in|when|while|before|after) (?:your )?(?:responding|replying|answering)\b|\byour (?:output|text|message|summary|words|sentences?|writing|result)\b"
)
_CONTACT: Final = re.compile(
    r"\b(?:look(?:ing)? forward to|thank(?:s| you)? for|await|waiting for|in response to|reply to this (?:e-?mail|message))\b"
)
_TO_USER: Final = re.compile(
    r"\b(?:the|to|ask|tell|urge|encourage|remind|advise|convince|persuade|inform|warn|for) (?:the )?(?:users?|readers?|recipients?|person|people|them|individuals?|audience|asker)\b"
)
_HYPE: Final = re.compile(
    r"\b(?:click(?: (?:here|the|this|on|below|now))?|download|you(?:'ve| have) (?:won|been selected)|act (?:now|fast)|limited[- ]time|don't miss|you won't believe|shocking|secret trick"
    r"|free (?:gift|download|trial|prize|money)|100% free|guaranteed|congratulations|claim your|urgent(?:ly)? (?:update|action)|infected|virus detected|instantly|miracle|exclusive offer)\b"
)
_URL: Final = re.compile(r"\b[a-z]{2,8}://|\bwww\.|\b[a-z0-9-]+\.(?:com|net|org|io|xyz|info|ru|top|link)\b")
_POLITE: Final = re.compile(r"^(?:\w+,? )?(?:can|could|would|will) you\b")
_ITSELF: Final = re.compile(
    r"\byour (?:own )?(?:favou?rite|opinion|thoughts|purpose|creators?|feelings|personality)\b|\bdo you (?:feel|dream|like|love|believe|know)\b|\bare you (?:an? |sentient|real|alive|human)"
)
_QUOTED: Final = re.compile(r"\"[^\"\n]{1,200}\"|(?<!\w)'[^'\n]{1,200}'(?!\w)")
_OPENINGS: Final = frozenset({"and", "so", "but", "also", "now", "then", "in", "for"})
_BEFORE_COMMA: Final = frozenset({
    "to", "in", "at", "as", "for", "if", "when", "while", "before", "after", "once", "with", "using", "by", "on",
})  # fmt: skip
_GENERIC: Final = re.compile(r"^(?:how|what|where|when|why) (?:do|can|should|would|could|does|must) (?:i|you|we|one)\b")
_FOLLOWED: Final = re.compile(r"\s*\n")
_NEAR_CHARS: Final = 1_500
_MIN_STEM: Final = 5

# Points. A score of one half is at none.
_BASE: Final = -3.6
_ORDER: Final = {"write": 1.7, "explain": 1.5, "transform": 1.3, "say": 0.9, "act": 0.6, "everyday": 0.6}
_QUESTION: Final = 1.6
_GENERAL: Final = 0.8
_YES_NO: Final = -0.8
_OBJECT: Final = {"text": 1.3, "letters": 1.2, "language": 1.4, "code": 1.0, "knowledge": 0.9, "errand": 1.0}
_OBJECTS_OF: Final = {"act": {"errand": 1.0, "letters": 0.6}, "everyday": {"letters": 0.6}}
_UNSURE: Final = -0.5
_ANSWER: Final = 2.6
_USER: Final = 1.0
_NOVEL: Final = 2.2
_FAMILIAR: Final = -1.6
_ITEM: Final = -1.0
_PERSONAL: Final = -1.6
_READER: Final = -1.1
_POINTING: Final = -0.8
_REGISTER: Final = -3.0
_HIDDEN: Final = 2.5
_SMALL: Final = -1.0
_OPENS: Final = -1.2
_HEADING: Final = -0.7
_MARKUP: Final = -0.8
_SCRIPT: Final = 4.4
THRESHOLD: Final = 0.5


class Asked(msgspec.Struct, frozen=True):
    """A sentence that asks for something.

    Attributes
    ----------
    start, end : int
        Its place.
    score : float
        How sure it is that it asks a model.
    rule : str
        ``order``, ``question``, ``answer_order`` or ``code_order``.
    """

    start: int
    end: int
    score: float
    rule: str


class _Reading(msgspec.Struct):
    """What is known of one sentence."""

    sentence: Sentence
    tokens: list[str]
    order: str = ""
    question: bool = False
    builds: bool = False
    about_answer: bool = False
    foreign: bool = False
    lead: int = 0


def asked(text: str, *, hidden: Sequence[tuple[int, int]] = (), alone: bool = False) -> list[Asked]:
    """Sentences that ask for something, each with its score.

    Parameters
    ----------
    text : str
        Normalised text.
    hidden : sequence of (int, int)
        Places that no reader sees.
    alone : bool
        Whether the text was hidden as a whole, so that all it asks is asked of a model.
    """
    readings = [_read(sentence) for sentence in sentences(text)]
    _mark_foreign(readings)
    asking = [reading for reading in readings if reading.order or reading.question or reading.builds or reading.foreign]
    found = []
    for reading in asking:
        points, rule = _points(reading, readings, asking, text)
        start, end = reading.sentence.start, reading.sentence.end
        if alone or any(first <= start and end <= last for first, last in hidden):
            points += _HIDDEN
        found.append(Asked(start, end, 1 / (1 + math.exp(-points)), rule))
    return found


def _mark_foreign(readings: Sequence[_Reading]) -> None:
    """Mark orders and questions in another script than Latin, where the other sentences are in Latin."""
    foreign = [reading for reading in readings if _FOREIGN.search(reading.sentence.text)]
    if not foreign or len(foreign) * 3 > len(readings) + 2:
        return
    for reading in foreign:
        text = reading.sentence.text
        if len(_FOREIGN.findall(text)) > len(_LATIN.findall(text)) and len(readings) > 1:
            reading.foreign = abroad.OTHER_SCRIPTS.search(text.lower()) is not None or text[-1] in "?？؟"


def _read(sentence: Sentence) -> _Reading:
    tokens = _WORD.findall(sentence.text.lower())
    reading = _Reading(sentence, tokens)
    reading.builds = sentence.code or build_in_points(sentence.text) > 0
    if reading.builds or not tokens:
        return reading
    reading.about_answer = _is_about_answer(sentence.text.lower())
    at = _order_at(tokens, sentence.text, sure=reading.about_answer)
    if at >= 0:
        reading.order, reading.lead = _order(tokens, at, sure=reading.about_answer), at
    first = next((token for token in tokens[:2] if token not in _OPENINGS), "").split("'")[0]
    asks = sentence.text.rstrip("\"')*_ ").endswith("?")
    reading.question = not reading.order and len(tokens) >= 3 and (asks and (first in _ASKS or first in w.AUXILIARY))
    return reading


def _is_about_answer(lower: str) -> bool:
    if _CONTACT.search(lower):
        return False
    return _ABOUT_ANSWER.search(lower) is not None or abroad.ANSWER.search(lower) is not None


def _order_at(tokens: list[str], text: str, *, sure: bool) -> int:
    """Index of the verb that begins an order, or -1."""
    at = 0
    while (
        at < len(tokens) - 1
        and at < 8
        and tokens[at] in _LEADS
        and not (tokens[at] == "let" and tokens[at + 1] == "me")
    ):
        at += 1
    if at < len(tokens) and _is_verb(tokens, at, sure=sure):
        return at
    comma = text.find(",", 0, 60)  # "To proceed, write", "In your answer, explain"
    if comma > 0 and tokens[0] in _BEFORE_COMMA:
        at = len(_WORD.findall(text[:comma].lower()))
        while at < len(tokens) - 1 and tokens[at] in _LEADS:
            at += 1
        if at < len(tokens) and _is_verb(tokens, at, sure=sure):
            return at
    return -1


def _is_verb(tokens: list[str], at: int, *, sure: bool) -> bool:
    verb = tokens[at]
    if verb not in _VERBS:
        return False
    after = tokens[at + 1] if at + 1 < len(tokens) else ""
    if not after:
        return False
    if verb in w.TRANSFORM and after in w.LETTERS_ONLY:
        return True
    if verb in w.NOUNS_TOO and not sure:
        return after in w.ARTICLES
    return after not in {"of", "is", "are", "was", "were", "has", "had", "by"}


def _order(tokens: list[str], at: int, *, sure: bool) -> str:
    verb, rest = tokens[at], tokens[at + 1 :]
    letters = w.LETTERS_STRONG if verb in w.EVERYDAY and not sure else w.LETTERS
    if verb in w.TRANSFORM and any(token in letters or token in w.LANGUAGES for token in rest):
        return "transform"
    if verb in w.EVERYDAY and not sure:
        return "everyday"
    return next(name for name, verbs in _ORDERS if verb in verbs)


def _points(
    reading: _Reading, readings: Sequence[_Reading], asking: Sequence[_Reading], text: str
) -> tuple[float, str]:
    sentence = reading.sentence
    build = 0.0 if sentence.code else build_in_points(sentence.text)
    if sentence.code or build:
        return _BASE + build + _code_near(reading, readings), "code_order"
    if reading.foreign:
        return _BASE + _SCRIPT, "order"
    others = [other for other in asking if other is not reading and not other.sentence.code]
    share = len(others) / max(len(readings) - 1, 4)
    points = _BASE + _REGISTER * max(0.0, share - 0.15)
    points += _what(reading) + _who(reading) + _subject(reading, text) + _form(sentence, text)
    if reading.question:
        return points, "question"
    return points, "answer_order" if reading.about_answer else "order"


def _what(reading: _Reading) -> float:
    """Points for what is asked."""
    lower = reading.sentence.text.lower()
    points = _QUESTION if reading.question else _ORDER[reading.order]
    objects = set(reading.tokens[reading.lead + 1 :])
    named = _OBJECTS_OF.get(reading.order, _OBJECT)
    bare = _UNSURE if reading.order == "explain" and reading.tokens[reading.lead] in w.EXPLAIN_TOO else 0.0
    points += max((value for name, value in named.items() if objects & _CLASSES[name]), default=bare)
    if reading.about_answer and not reading.question:
        points += _ANSWER
    if _TO_USER.search(lower) and not reading.question:
        points += _USER
    if _HYPE.search(lower) and _URL.search(lower):
        points += _USER
    return points


def _who(reading: _Reading) -> float:
    """Points for who speaks to whom."""
    lower = reading.sentence.text.lower()
    tokens = set(_WORD.findall(_QUOTED.sub(" ", lower)))
    points = 0.0
    if _GENERIC.match(lower):
        tokens -= {"i", "you", "we"}
    if _POLITE.match(lower):
        tokens -= {"you", "me"}
    if reading.question and _ITSELF.search(lower):
        points += _USER
        tokens -= w.READER
    if tokens & w.PERSONAL - {"please", "me"} or (tokens & {"please", "me"} and reading.order in _OBJECTS_OF):
        points += _PERSONAL
    if tokens & w.READER and not reading.about_answer:
        points += _READER
    if tokens & (w.POINTING if reading.question else w.POINTING - {"that"}) and not reading.about_answer:
        points += _POINTING
    if reading.question and reading.tokens[0] in w.AUXILIARY:
        points += _YES_NO
    elif reading.question and not tokens & (w.PERSONAL | w.READER):
        points += _GENERAL
    return points


def _form(sentence: Sentence, text: str) -> float:
    """Points for how a sentence is written down."""
    points = _ITEM if sentence.item else 0.0
    if sentence.text[0].islower():
        points += _SMALL
    if sentence.text.endswith(":") and _FOLLOWED.match(text, sentence.end):
        points += _OPENS
    elif sentence.text[-1].isalnum() and len(sentence.text) < 30:
        points += _HEADING
    if "`" in sentence.text or "](" in sentence.text:
        points += _MARKUP
    return points


_CLASSES: Final = {
    "text": w.TEXTS,
    "letters": w.LETTERS_ONLY,
    "language": w.LANGUAGES,
    "code": w.CODE,
    "knowledge": w.KNOWLEDGE,
    "errand": w.ERRANDS,
}
_CUES: Final = w.STOP | w.TEXTS | w.LETTERS | w.ARTICLES | _LEADS | w.PERSONAL | w.READER | w.QUESTION | w.AUXILIARY


def _subject(reading: _Reading, text: str) -> float:
    """Points for whether the subject of a sentence is one of the text around it."""
    tokens = reading.tokens[reading.lead + bool(reading.order) :]
    words = [token for token in tokens if len(token) > 2 and token not in _CUES]
    words = words or [token for token in tokens if token in w.TEXTS or token in w.LETTERS]
    if not words:
        return 0.0 if reading.about_answer else _FAMILIAR / 2
    sentence = reading.sentence
    before = text[max(0, sentence.start - _NEAR_CHARS) : sentence.start]
    around = f"{before} {text[sentence.end : sentence.end + _NEAR_CHARS]}"
    if len(around) < 100:
        return 0.0
    stems = {word[:_MIN_STEM] for word in _WORD.findall(around.lower())}
    known = sum(word[:_MIN_STEM] in stems for word in words)
    new = 1 - known / len(words)
    return _FAMILIAR + (_NOVEL - _FAMILIAR) * new


def _code_near(reading: _Reading, readings: Sequence[_Reading]) -> float:
    """Points for what the code does that a sentence speaks of, or that it is."""
    if reading.sentence.code:
        return code_points(reading.sentence.text)
    at = next(number for number, other in enumerate(readings) if other is reading)
    near = [other.sentence for other in readings[at : at + 40]]
    block = next((sentence.text for sentence in near if sentence.code), "")
    if not block:
        lines = "\n".join(sentence.text for sentence in near[1:])
        block = lines if looks_like_code(lines) else ""
    return code_points(block) if block else -0.8
