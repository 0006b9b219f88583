"""What a scanner found in a text: where and by which rule, never the text itself."""

from typing import Annotated, Literal

import msgspec

Kind = Literal["injection", "hidden_text", "personal_data", "obscenity", "secret"]


class Finding(msgspec.Struct, frozen=True):
    """One place in a text that a rule points at."""

    kind: Annotated[Kind, "What it is about."]
    rule: Annotated[str, "Bounded name of the rule, such as EMAIL_ADDRESS or override."]
    start: Annotated[int, "First character."]
    end: Annotated[int, "Character after the last one."]
    score: Annotated[float, "How sure the rule is, 0 to 1."] = 1.0


class Scan(msgspec.Struct, frozen=True):
    """Outcome of a full scan."""

    findings: Annotated[tuple[Finding, ...], "In order of place."] = ()
    complete: Annotated[bool, "Whether the whole text was read; false after the time limit."] = True
    score: Annotated[float, "How sure the scanner is that the text gives orders to a model, 0 to 1."] = 0.0
    flagged: Annotated[bool, "Whether `score` reaches the threshold of the scanner."] = False
