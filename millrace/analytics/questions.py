"""A question as the log tells of it, in one piece."""

import datetime as dt
from typing import Final

import msgspec

WEEK_US: Final = 7 * 24 * 3600 * 1_000_000
_EPOCH_MONDAY_US: Final = 4 * 24 * 3600 * 1_000_000  # 1970-01-05
NOT_ANSWERED: Final = ("not_found", "refused", "failed", "retracted")


class Asked(msgspec.Struct):
    """One question with what became of it. Times are unix microseconds, costs US dollars.

    Attributes
    ----------
    text, vector : str, bytes
        As it was admitted, and its vector (little-endian float32, L2-normalised); empty where it was not retrieved for,
        or is not among those that topics are found in.
    spans : list of (int, int)
        Places in `text` that guards pointed at as data of persons or secrets.
    hidden : bool
        Whether guards found more such places than they named.
    feedback : list of float
        What each user said of the answer last, and what each kind of behaviour says, -1 to 1.
    poor : bool
        What the last revision of its quality says.
    """

    tenant: str
    at_us: int
    user: str = ""
    conversation: str = ""
    text: str = ""
    vector: bytes = b""
    model: str = ""
    spans: list[tuple[int, int]] = []
    hidden: bool = False
    status: str = ""
    n_tokens: int = 0
    cost_usd: float = 0.0
    metered: bool = False
    latency_ms: float = 0.0
    feedback: list[float] = []
    poor: bool = False
    quality_revision: int = 0
    stage: str = ""
    stage_revision: int = 0

    @property
    def week_us(self) -> int:
        """Begin of its week."""
        return week_of(self.at_us)

    @property
    def person(self) -> str:
        """Who asked; where nobody is named, one person for each conversation."""
        return f"u/{self.user}" if self.user else f"c/{self.conversation}"

    @property
    def unanswered(self) -> bool:
        """Whether it ended without an answer."""
        return self.status in NOT_ANSWERED

    @property
    def outside_corpus(self) -> bool:
        """Whether the corpus holds no answer, as far as is known."""
        return self.status == "not_found" or self.stage == "corpus"


def week_of(at_us: int) -> int:
    """Monday 00:00 UTC of the week of a time, both in unix microseconds."""
    return (at_us - _EPOCH_MONDAY_US) // WEEK_US * WEEK_US + _EPOCH_MONDAY_US


def week_name(week_us: int) -> str:
    """ISO name of a week, such as 2026-W07."""
    year, week, _ = dt.datetime.fromtimestamp(week_us / 1e6, dt.UTC).isocalendar()
    return f"{year}-W{week:02}"
