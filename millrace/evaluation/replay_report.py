"""The report of a replay as one HTML file that needs nothing else: no script, no address, no font of its own."""

from pathlib import Path
from typing import Final

from millrace.evaluation.replayed import VERDICTS, Pair, Replay, measured
from millrace.evaluation.report import check_installed, in_words, verdict
from millrace.reports.page import render
from millrace.reports.private import write_private

LISTED: Final = 50
_ORDER: Final = {"worse": 0, "better": 1, "changed": 2, "identical": 3}
_CONTEXTS: Final = {
    "recorded": "read from the chunks that were read then",
    "at_watermark": "searched for in the corpus as it was when each was asked",
    "now": "searched for in the corpus as it is now",
}


def write_replay(replay: Replay, path: Path, n_listed: int = LISTED) -> None:
    """Write the report; it shows questions as they were asked, so only the file's owner may read it.

    Parameters
    ----------
    replay : Replay
        The questions asked again.
    path : Path
        Where to; its folder is made.
    n_listed : int
        How many pairs that differ are listed.

    Raises
    ------
    ConfigurationError
        A library is missing.
    """
    check_installed()
    write_private(_html(replay, n_listed).encode(), path)


def different(replay: Replay, n: int) -> list[Pair]:
    """Pairs that differ: worse ones first, then better ones, then the others."""
    found = [pair for pair in replay.compared if pair.verdict != "identical"]
    return sorted(found, key=lambda pair: _ORDER[pair.verdict])[:n]


def _html(replay: Replay, n_listed: int) -> str:
    from millrace.evaluation.replay_plots import plots  # noqa: PLC0415 - an extra that most who import this do not need

    found = measured(replay)
    return render(
        "millrace.evaluation",
        "replay.html.jinja",
        plots(replay, found),
        replay=replay,
        found=found,
        sides=list(zip(found.then, found.now, found.differences, strict=True)),
        context=_CONTEXTS[replay.context],
        verdicts=[(name, replay.verdicts[name]) for name in VERDICTS],
        incomplete=[(reason, n, _example(replay, reason)) for reason, n in replay.incomplete.most_common()],
        different=different(replay, n_listed),
        in_words=in_words,
        verdict=verdict,
    )


def _example(replay: Replay, reason: str) -> str:
    return next(pair.detail for pair in replay.pairs if pair.incomplete == reason)
