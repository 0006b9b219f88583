"""Signatures by which near-duplicates are found without keeping texts: b-bit MinHash.

Of each of 64 hash functions the least value over all shingles, of which four bits are kept (Broder, 1997; Li and König,
"b-bit minwise hashing", 2010). Two signatures agree in a share R = J + (1 - J) / 16 of the places, J the Jaccard index
of the shingles; so J is estimated within 0.05 (one standard deviation at 0.8) from 32 bytes.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

N_VALUES: Final = 64
N_BYTES: Final = N_VALUES // 2
_CHANCE: Final = 1 / 16
_BAND_BYTES: Final = 2
"""16 bands of four values: pairs of J = 0.8 share one with probability 0.9999, pairs of 0.2 with 0.06."""
_MOST_OF_A_BAND: Final = 64
"""So many members of a band are compared with each other; of a larger one, each with its neighbours alone."""


def signature(shingles: Collection[str]) -> bytes:
    """Signature of a text's shingles, 32 bytes; empty where it has none."""
    if not shingles:
        return b""
    digests = b"".join(hashlib.shake_128(shingle.encode()).digest(4 * N_VALUES) for shingle in shingles)
    least = np.frombuffer(digests, dtype="<u4").reshape(len(shingles), N_VALUES).min(axis=0)
    values = (least & 15).astype(np.uint8)
    return bytes((values[::2] << 4) | values[1::2])


def likeness(one: bytes, others: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Estimated Jaccard index of one signature with others.

    Returns
    -------
    numpy.ndarray
        Shape (len(others),), float64, at most 1; 0 where one of the two has no signature.
    """
    found = np.zeros(len(others))
    whole = [n for n, other in enumerate(others) if len(other) == len(one) == N_BYTES]
    if not whole:
        return found
    matrix = np.frombuffer(b"".join(others[n] for n in whole), dtype=np.uint8).reshape(len(whole), N_BYTES)
    differing = matrix ^ np.frombuffer(one, dtype=np.uint8)
    agreeing = (differing >> 4 == 0).mean(axis=1) / 2 + (differing & 15 == 0).mean(axis=1) / 2
    found[whole] = np.maximum((agreeing - _CHANCE) / (1 - _CHANCE), 0.0)
    return found


def near_pairs(signatures: Sequence[bytes], least: float) -> Iterator[tuple[int, int]]:
    """Pairs of signatures, by place, that are at least so alike; found by their bands, so not by comparing all."""
    seen: set[tuple[int, int]] = set()
    for at in range(0, N_BYTES, _BAND_BYTES):
        members: dict[bytes, list[int]] = {}
        for n, each in enumerate(signatures):
            if len(each) == N_BYTES:
                members.setdefault(each[at : at + _BAND_BYTES], []).append(n)
        for band in members.values():
            for pair in _pairs(band):
                if pair not in seen:
                    seen.add(pair)
                    one, other = pair
                    if likeness(signatures[one], [signatures[other]])[0] >= least:
                        yield pair


def _pairs(band: list[int]) -> Iterator[tuple[int, int]]:
    if len(band) <= _MOST_OF_A_BAND:
        yield from combinations(band, 2)
        return
    for n, one in enumerate(band):
        for other in band[n + 1 : n + 1 + _MOST_OF_A_BAND]:
            yield one, other
