"""Ask recorded questions again: what stands behind ``millrace replay``.

The real agents answer, over ports that read the log and the stores as they were (`ports`), and what they give is kept
instead of published (`asking`). No group is joined, no offset is committed, and no live file is written.
"""

from infra.replaying.overrides import Overrides
from infra.replaying.session import ReplayOptions, replay_questions
from streams.recorded.questions import Range

__all__ = ["Overrides", "Range", "ReplayOptions", "replay_questions"]
