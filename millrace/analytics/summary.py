"""What an analysis says, as it is saved and shown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from millrace.analytics.usage import Usage
from millrace.errors import InputRejected

MISSING: Final = "no end in the log"
"""How a question ended that has no terminal record yet."""


class AnalysisOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How questions are looked at, and what may be shown of them."""

    least_people: Annotated[
        int, "A topic that fewer people asked about has no name and no example: it would tell of single persons."
    ] = 5
    least_counted: Annotated[
        int, "A word that fewer people used names no topic, and a week in which fewer asked has no numbers."
    ] = 3
    examples: Annotated[bool, "Whether example questions are shown at all."] = True
    n_examples: Annotated[int, "How many of a topic are shown."] = 3

    @property
    def crowd(self) -> int:
        """Fewer people than this are not counted apart; nothing is stricter than what topics need."""
        return min(self.least_counted, self.least_people)


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """Questions about the same, in the range of a report; `name` is empty where too few people asked.

    `by_week` has None for weeks that are not told, as too few people asked in them.
    """

    id: str
    name: str
    n: int
    n_people: int
    by_week: tuple[int | None, ...]
    by_intent: Mapping[str, int]
    by_status: Mapping[str, int]
    by_stage: Mapping[str, int]
    n_poor: int
    n_outside: int
    examples: tuple[str, ...] = ()
    centre: str = ""
    reach: float = 1.0

    @property
    def n_unanswered(self) -> int:
        """Questions that ended without an answer."""
        return self.n - self.by_status.get("answered", 0) - self.by_status.get(MISSING, 0)


class Unanswered(msgspec.Struct, frozen=True, kw_only=True):
    """What of a topic the corpus does not answer."""

    topic: str
    name: str
    words: tuple[str, ...]
    n: int
    share: float
    n_people: int
    examples: tuple[str, ...] = ()


class TenantReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant's questions say.

    Attributes
    ----------
    model : str
        Embedding model of the question vectors.
    topics : tuple of Topic
        Those that enough people asked about, most questions first.
    other : Topic
        All the rest together: topics of few people, questions that are in none, and those without a vector.
    n_few : int
        Topics of few people.
    n_apart : int
        Questions that are in no topic.
    n_not_sampled : int
        Questions without a vector: refused or failed before, of another embedding model, or beyond the sample.
    unanswered : tuple of Unanswered
        By number of questions.
    """

    tenant: str
    model: str
    n: int
    topics: tuple[Topic, ...]
    other: Topic
    n_few: int
    n_apart: int
    n_not_sampled: int
    by_intent: Mapping[str, int]
    by_status: Mapping[str, int]
    unanswered: tuple[Unanswered, ...]
    usage: tuple[Usage, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the questions of a range say, tenant by tenant.

    Attributes
    ----------
    made_at, asked_from, asked_to : str
        UTC, ISO 8601.
    weeks : tuple of str
        ISO names of the weeks that `by_week` counts.
    searched_for_persons : bool
        Whether a finder of personal data looked at what is shown, beside the guards when it was asked.
    """

    made_at: str
    asked_from: str
    asked_to: str
    weeks: tuple[str, ...]
    options: AnalysisOptions
    tenants: tuple[TenantReport, ...]
    n_searches: int = 0
    n_unreadable: int = 0
    searched_for_persons: bool = True


def load_report(path: Path) -> Report:
    """Read a report that was saved.

    Raises
    ------
    InputRejected
        It cannot be read, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InputRejected(f"{path} cannot be read ({error.strerror}); --save writes such a file") from error
    except msgspec.DecodeError as error:
        raise InputRejected(f"{path} is no report of `millrace report --save` ({error})") from error


def save_report(report: Report, path: Path) -> None:
    """Write a report as JSON; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def document(report: Report) -> dict[str, Any]:
    """A report as `--json` prints it."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found
