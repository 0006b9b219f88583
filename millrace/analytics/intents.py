"""What kind of answer a question wants, by rules over its form. English alone; other languages are named instead.

The rules stand in the order in which they are tried; each says what it looks at. They read the form of a question and
know nothing of what it is about: "How long ..." wants an amount, "How do I ..." a way to do something.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from millrace.analytics.words import language_of


class Rule(NamedTuple):
    """An intent, how people read it, and the form it is known by."""

    intent: str
    meaning: str
    form: re.Pattern[str]


_POLITE: Final = re.compile(
    r"^(?:(?:hi|hello|hey|dear \w+|please|kindly|so|and|but|ok|okay|well)\b[,!. ]*)*"
    r"(?:(?:can|could|would) you (?:please )?(?=(?:tell|show|explain|list|give|find|describe|help|summari[sz]e)\b)"
    r"|(?:(?:i|we) (?:would like|want|need|wish)|i'd like) to (?:know|understand|find out|ask)[,: ]*"
    r"|(?:do you know|any idea|tell me|let me know)[,: ]*(?=who|what|when|where|why|how|which|whether|if))?",
    re.IGNORECASE,
)
_BE: Final = r"(?:is|are|was|were|'s)"
_SIZES: Final = (
    r"(?:much|many|long|often|far|old|tall|high|big|large|fast|soon|late|early|deep|wide|heavy|frequently|quickly|close"
    r"|small|likely|expensive|strong|hot|cold|regularly|strict)"
)
_SOMEBODY: Final = r"(?:i|we|you|one|someone|somebody|people|an? \w+|employees?|users?|customers?|staff|members)"


def _form(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


RULES: Final[tuple[Rule, ...]] = (
    Rule("comparison", "two things held against each other", _form(
        r"\b(?:differences? (?:between|from|in)|differ(?:s|ent)? from|compare[ds]?|comparison|versus|vs\b|better than"
        r"|(?:which|what|who) (?:\w+ )?(?:is|are|was|were|has|had) (?:the )?(?:better|more|less|larger|bigger|faster|cheaper"
        r"|older|newer|higher|lower|safer|longer|shorter)\b.*\bor\b|advantages? (?:of|over))"
    )),
    Rule("yes or no", "whether something is so", _form(
        r"^(?:is|are|was|were|am|do|does|did|can|could|will|would|should|shall|may|might|must|has|have|had|need)(?:n't)?\b"
        r"|^(?:whether|if)\b"
    )),
    Rule("how to", "a way to do something", _form(
        rf"\bhow (?:to\b|(?!do you\b.*\b(?:my|our|me|us)\b)(?:do|can|could|should|would|must|may|might|shall) {_SOMEBODY}\b)"
        r"|\b(?:what|which) (?:are the )?(?:steps?|procedure|process)\b"
    )),
    Rule("how much", "an amount, a duration or a frequency", _form(
        rf"\bhow {_SIZES}\b|\b(?:what|which) (?:{_BE} the )?(?:\w+ )?(?:number|amount|percentage|percent|proportion|share|price"
        r"|cost|size|length|height|depth|width|weight|age|rate|ratio|fraction|score|population|total|limit|fee|quantity)\b"
    )),
    Rule("when", "a time or a date", _form(
        r"\bwhen\b(?! it comes)|\b(?:what|which) (?:\w+ )?(?:time|day|date|month|year|decade|century|era|season|deadline)\b"
        r"|\b(?:by|since|until) (?:what|which) (?:time|date)"
    )),
    Rule("where", "a place", _form(
        r"\bwhere\b|\b(?:what|which) (?:\w+ )?(?:place|city|town|country|state|region|continent|location|address|street"
        r"|building|room|office|area|island|river|province)\b"
    )),
    Rule("who", "a person, or a body of people", _form(
        r"\b(?:who|whom|whose)\b|\b(?:what|which) (?:\w+ )?(?:person|people|man|woman|company|organi[sz]ation|group|team"
        r"|player|king|queen|emperor|president|ruler|scientist|author|department|agency|party|coach)\b"
    )),
    Rule("why", "a reason", _form(
        r"\bwhy\b|\bhow come\b|\b(?:what|which) (?:\w+ )*?(?:reasons?|causes?|caused|purposes?|motives?)\b|\bfor what reason\b"
    )),
    Rule("definition", "what something is or means", _form(
        r"\b(?:definition of|define|meaning of|meant by|stands? for|what (?:do|does|did) .+ mean\b)"
        rf"|^what(?: (?:{_BE}) |'s )(?:(?:a|an|the) )?(?:[\w'-]+ ){{0,2}}[\w'-]+ ?\??$"
    )),
    Rule("how", "a manner or an explanation", _form(r"\bhow\b|^(?:please )?explain\b")),
    Rule("what", "a fact: what or which", _form(r"\b(?:what|which)\b")),
    Rule("command", "something to be done", _form(
        r"^(?:show|list|give|tell|find|describe|summari[sz]e|write|translate|create|name|send|open|help|provide|get|search"
        r"|make|draft|check|calculate|count|print|generate|remind|book|order|cancel|delete|update|add)\b"
    )),
)  # fmt: skip
"""The first that fits counts."""

OTHER: Final = "other"
"""English, or in no language that is known, and in no form of the rules: keywords, mostly."""

MEANINGS: Final[Mapping[str, str]] = {
    **{rule.intent: rule.meaning for rule in RULES},
    OTHER: "keywords, or a form that no rule knows",
}


def intent_of(question: str) -> str:
    """Intent of a question: that of the first rule that fits, `OTHER`, or ``in LANGUAGE`` where it is not English."""
    text = " ".join(question.replace("\u2019", "'").split())
    text = _POLITE.sub("", text, count=1)
    language = language_of(text)
    if language not in {"en", "und"}:
        return f"in {language}"
    return next((rule.intent for rule in RULES if rule.form.search(text)), OTHER)
