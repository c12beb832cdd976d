"""Randomness that belongs to a thing, never to an order."""

import hashlib

import numpy as np


def seed_of(seed: int, *names: str | int) -> int:
    """A 128-bit seed made of `seed` and of the names of the thing that it is for.

    Names are separated by a byte that text cannot hold, so ("a", "bc") and ("ab", "c") differ.
    """
    text = b"\xff".join(str(name).encode() for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for one named thing: the same draws whatever the job count, order or resume.

    Example:
        >>> int(generator(1, "augment", "id1/a").integers(100)) == int(generator(1, "augment", "id1/a").integers(100))
        True
    """
    return np.random.Generator(np.random.PCG64(seed_of(seed, *names)))
