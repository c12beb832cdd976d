"""Pairs of items to train on: as many of one speaker as of two. Suffixes: N items, S speakers."""

from __future__ import annotations

import numpy as np


class PairSampler:
    """Balanced pairs of items: as many of one speaker as of two.

    Speakers are drawn evenly, however many items they have: target pairs go through all speakers with two items before one
    comes again within a batch; of non-target pairs both speakers are drawn at random.

    Args:
        code_N: speaker of each item, 0 to S - 1, none without items.
        group_N: None, or a group of each item (gender, corpus): then non-target pairs are within groups.

    Raises:
        ValueError: no speaker with two items, or no two speakers (in a group); a speaker in two groups.
    """

    def __init__(self, code_N: np.ndarray, group_N: np.ndarray | None = None) -> None:
        self.order_N = np.argsort(code_N, kind="stable")
        self.num_S = np.bincount(code_N)
        self.start_S = np.cumsum(self.num_S) - self.num_S
        self.repeated = np.flatnonzero(self.num_S >= 2)
        group_S = np.zeros(self.num_S.size, dtype=np.int64) if group_N is None else _group_of_speakers(code_N, group_N)
        self.by_group_S = np.argsort(group_S, kind="stable")
        self.group_start_S = np.searchsorted(group_S[self.by_group_S], group_S[self.by_group_S], side="left")
        self.group_size_S = np.bincount(group_S)[group_S[self.by_group_S]]
        self.opposed = np.flatnonzero(self.group_size_S >= 2)
        if not self.repeated.size or not self.opposed.size:
            raise ValueError(
                "speakers: expected some with two embeddings, and two speakers (in one group) for non-target pairs, found "
                f"{self.num_S.size} speakers for {code_N.size} embeddings, {self.repeated.size} of them with two"
            )

    def draw(self, rng: np.random.Generator, num_pairs: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the two items of each pair of a batch, [2 * num_pairs] each: the target pairs first."""
        rounds = -(-num_pairs // self.repeated.size)
        speakers = np.concatenate([rng.permutation(self.repeated) for _ in range(rounds)])[:num_pairs]
        first = rng.integers(self.num_S[speakers])
        second = (first + 1 + rng.integers(self.num_S[speakers] - 1)) % self.num_S[speakers]
        place = rng.choice(self.opposed, num_pairs)
        start, size = self.group_start_S[place], self.group_size_S[place]
        other = start + (place - start + 1 + rng.integers(size - 1)) % size
        one, two = self.by_group_S[place], self.by_group_S[other]
        items = (rng.integers(self.num_S[one]), rng.integers(self.num_S[two]))
        enrol = np.concatenate([self.start_S[speakers] + first, self.start_S[one] + items[0]])
        test = np.concatenate([self.start_S[speakers] + second, self.start_S[two] + items[1]])
        return self.order_N[enrol], self.order_N[test]


def _group_of_speakers(code_N: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    group_S = np.zeros(code_N.max() + 1, dtype=np.int64)
    group_S[code_N] = group_N
    if (group_S[code_N] != group_N).any():
        raise ValueError("groups: expected one for each speaker, found a speaker in two")
    return group_S
