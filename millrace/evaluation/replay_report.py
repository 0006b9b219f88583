"""The report of a replay as one HTML file that needs nothing else: no script, no address, no font of its own."""

import base64
from importlib.resources import files
from pathlib import Path
from typing import Final

from millrace.evaluation.replayed import VERDICTS, Pair, Replay, measured
from millrace.evaluation.report import check_installed, in_words, verdict

LISTED: Final = 50
_ORDER: Final = {"worse": 0, "better": 1, "changed": 2, "identical": 3}
_CONTEXTS: Final = {
    "recorded": "read from the chunks that were read then",
    "at_watermark": "searched for in the corpus as it was when each was asked",
    "now": "searched for in the corpus as it is now",
}


def write_replay(replay: Replay, path: Path, n_listed: int = LISTED) -> None:
    """Write the report.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_html(replay, n_listed), encoding="utf-8")


def different(replay: Replay, n: int) -> list[Pair]:
    """Pairs that differ: worse ones first, then better ones, then the others."""
    found = [pair for pair in replay.compared if pair.verdict != "identical"]
    return sorted(found, key=lambda pair: _ORDER[pair.verdict])[:n]


def _html(replay: Replay, n_listed: int) -> str:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - an extra that most who import this do not need

    from millrace.evaluation.replay_plots import plots  # noqa: PLC0415 - the same

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("millrace.evaluation").joinpath("replay.html.jinja").read_text("utf-8"))
    found = measured(replay)
    images = [(title, base64.b64encode(svg.encode()).decode()) for title, svg in plots(replay, found)]
    return template.render(
        replay=replay,
        found=found,
        sides=list(zip(found.then, found.now, found.differences, strict=True)),
        context=_CONTEXTS[replay.context],
        verdicts=[(name, replay.verdicts[name]) for name in VERDICTS],
        incomplete=[(reason, n, _example(replay, reason)) for reason, n in replay.incomplete.most_common()],
        images=images,
        different=different(replay, n_listed),
        in_words=in_words,
        verdict=verdict,
    )


def _example(replay: Replay, reason: str) -> str:
    return next(pair.detail for pair in replay.pairs if pair.incomplete == reason)
