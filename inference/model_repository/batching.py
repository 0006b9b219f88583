"""How texts of many lengths become tensors: packed one after the other for the wire, padded in batches for the model.

Shared by the embedder in this process and the model server's, which gets a copy of this module: it imports numpy alone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RUN_TOKENS = 10  # a run of the model costs as much on top of its texts as this many tokens do


def cut_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Put texts of like length together, at most ``batch_tokens`` a batch with padding, at least one text each.

    The model computes padding like text, so a batch ends where padding begins to cost more than another run.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each text.
    batch_tokens : int
        Upper bound for texts times longest text of a batch.

    Returns
    -------
    list of list of int
        Positions of the texts, longest batch first, so that the last ones to run are short.
    """
    batches: list[list[int]] = []
    longest = padding = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        padding += longest - lengths[i]
        if not batches or (len(batches[-1]) + 1) * longest > batch_tokens or padding > RUN_TOKENS:
            batches.append([])
            longest, padding = lengths[i], 0
        batches[-1].append(i)
    return batches


def pad(rows: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token ids of texts as the model takes them.

    Returns
    -------
    tuple of numpy.ndarray
        Ids and mask, each of shape (len(rows), longest), int64; the mask is 1 where there is a token.
    """
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def pack(rows: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Token ids of texts one after the other, without padding; each text has at least one token.

    Returns
    -------
    tuple of numpy.ndarray
        Ids, int32, and where a text begins, bool; both of shape (tokens, 1), for a token is the unit of a batch.
    """
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32)
    begins = np.zeros(len(tokens), dtype=np.bool_)
    begins[np.cumsum([0, *map(len, rows[:-1])])] = True
    return tokens[:, None], begins[:, None]


def unpack(tokens: npt.NDArray[np.int32], begins: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int32]]:
    """Token ids of each text, as `pack` got them.

    Raises
    ------
    ValueError
        The first token begins no text.
    """
    at = np.flatnonzero(begins)
    if not len(at) or at[0] != 0:
        raise ValueError("the first token must begin a text; see `pack`")
    return np.split(tokens.reshape(-1), at[1:])
