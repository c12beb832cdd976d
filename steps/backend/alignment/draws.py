"""Batches for the training of mappers: speakers, and of each the utterances of a profile and of its queries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]  # rows of the profiles' utterances [S, M], rows of the queries [S, Q]


class SpeakerDraws:
    """Draws of profile and query utterances of speakers with two utterances or more; others cannot be drawn.

    Args:
        code_N: speaker of each row, whole numbers.
        num_enrol: M, utterances of a profile.
        num_query: Q, queries of a speaker.
        split: "disjoint" = an utterance is in the profile or a query, never both (a speaker with fewer than M + Q has some of
            them repeated, on their side); "shared" = the same M + Q rows on both sides.
    """

    def __init__(self, code_N: np.ndarray, num_enrol: int, num_query: int, split: str = "disjoint") -> None:
        order_N = np.argsort(code_N, kind="stable")
        ids, starts = np.unique(code_N[order_N], return_index=True)
        rows_of = dict(zip(ids.tolist(), np.split(order_N, starts[1:]), strict=True))
        self.rows_of = {code: rows for code, rows in rows_of.items() if len(rows) > 1}
        self.codes_S = np.array(sorted(self.rows_of), dtype=np.int64)
        self.num_enrol, self.num_query, self.split = num_enrol, num_query, split

    @property
    def num_items(self) -> int:
        """How many rows may be drawn."""
        return sum(map(len, self.rows_of.values()))

    def batch(self, codes_S: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return a draw for these speakers."""
        drawn = [self._rows(self.rows_of[code], rng) for code in codes_S.tolist()]
        return np.stack([enrol for enrol, _ in drawn]), np.stack([query for _, query in drawn])

    def batches(self, num_speakers: int, num_batches: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of `num_speakers` different speakers; each speaker comes about equally often."""
        while num_batches > 0:
            order_S = rng.permutation(self.codes_S)
            for start in range(0, len(order_S) - num_speakers + 1, num_speakers):
                yield self.batch(order_S[start : start + num_speakers], rng)
                num_batches -= 1
                if num_batches == 0:
                    return

    def _rows(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        drawn, total = rng.permutation(rows), self.num_enrol + self.num_query
        if self.split == "shared":
            both = np.resize(drawn, total)  # goes round where there are fewer
            return both, both
        cut = min(max(len(drawn) * self.num_enrol // total, 1), len(drawn) - 1, self.num_enrol)
        return np.resize(drawn[:cut], self.num_enrol), np.resize(drawn[cut:], self.num_query)


def hold_out_speakers(code_N: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return which rows [N] belong to speakers that are held out: a share of those with two utterances or more, at least two.

    Raises:
        ValueError: fewer than four speakers with two utterances.
    """
    codes, counts = np.unique(code_N, return_counts=True)
    eligible = codes[counts > 1]
    if len(eligible) < 4:
        raise ValueError(
            f"speakers: expected four or more with at least two utterances (two to train on, two to validate on), "
            f"found {len(eligible)} of {len(codes)} speakers"
        )
    num_held = min(max(2, round(share * len(eligible))), len(eligible) - 2)
    return np.isin(code_N, rng.permutation(eligible)[:num_held])
