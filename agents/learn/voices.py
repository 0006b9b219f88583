"""Whose feedback counts where drift is looked for: that on an answer once, and no conversation's above the others'.

Looked at is the feedback that counted last. What does not count pushes nothing out of it, so that however much comes of
one conversation, it counts no more until others were heard.
"""

import hashlib
from typing import Final

from agents.learn.policy import LearnPolicy

_DIGEST_BYTES: Final = 4
_VOICE_BYTES: Final = 2 * _DIGEST_BYTES


def heard(voices: bytes, conversation: str, correlation: str, policy: LearnPolicy) -> bytes | None:
    """Take feedback on an answer in.

    Parameters
    ----------
    voices : bytes
        Digests of conversation and answer of the feedback that counted last, oldest first.
    conversation, correlation : str
        What the feedback is about.
    policy : LearnPolicy
        How far back is looked, and how much of a conversation counts.

    Returns
    -------
    bytes or None
        `voices` with one more; None where it does not count.
    """
    theirs, answer = _digest(conversation), _digest(conversation, correlation)
    known = [voices[at : at + _VOICE_BYTES] for at in range(0, len(voices), _VOICE_BYTES)]
    if theirs + answer in known:
        return None
    if sum(each.startswith(theirs) for each in known) >= policy.drift_conversation_cap:
        return None
    return (voices + theirs + answer)[-_VOICE_BYTES * policy.drift_feedback_window :]


def _digest(*parts: str) -> bytes:
    return hashlib.blake2s("\0".join(parts).encode(), digest_size=_DIGEST_BYTES).digest()
