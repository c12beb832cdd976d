"""Ranks, CMC and open-set rates are those of loops over searches and thresholds; ties count against the system."""

import numpy as np
import pytest

from steps.metrics.identification import (
    bootstrap_dir_at_far,
    cmc,
    dir_at_far,
    fnir_at_fpir,
    identification_rate,
    identified,
    open_set_rates,
    rank_blocks,
    rank_scores,
    thinned_curve,
    together,
)

FARS = (0.0, 0.1, 0.3, 1.0)


def make_searches(seed: int, num_enrolled: int = 6, num_searches: int = 40):
    """Scores with ties, answers with some -1."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(num_enrolled, num_searches)).round(1)
    answer = rng.integers(-1, num_enrolled, size=num_searches)
    answer[:2] = -1, 0
    mated = answer >= 0
    scores[answer[mated], np.flatnonzero(mated)] += 1.0
    return scores.round(1), answer


def plain_rank(scores, answer, column):
    own = scores[answer[column], column]
    return 1 + sum(scores[row, column] >= own for row in range(len(scores)) if row != answer[column])


def plain_rates(scores, answer, threshold, rank):
    nonmated, mated = np.flatnonzero(answer < 0), np.flatnonzero(answer >= 0)
    far = np.mean([scores[:, column].max() >= threshold for column in nonmated])
    hits = [scores[answer[n], n] >= threshold and plain_rank(scores, answer, n) <= rank for n in mated]
    return far, np.mean(hits)


def plain_dir(scores, answer, far, rank=1):
    pairs = [plain_rates(scores, answer, threshold, rank) for threshold in [*np.unique(scores), np.inf]]
    return max(hit for false_alarm, hit in pairs if false_alarm <= far)


@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_cmc_are_those_of_loops(seed):
    scores, answer = make_searches(seed)
    searches = rank_scores(scores, answer)
    expected = [plain_rank(scores, answer, n) if answer[n] >= 0 else 0 for n in range(answer.size)]
    assert searches.rank_N.tolist() == expected
    mated = np.array([rank for rank in expected if rank])
    assert cmc(searches) == pytest.approx([np.mean(mated <= rank) for rank in range(1, 7)])
    assert identification_rate(searches, 2) == np.mean(mated <= 2)
    assert cmc(searches)[-1] == 1


def test_a_system_whose_scores_are_all_equal_identifies_nobody():
    searches = rank_scores(np.zeros((4, 8)), np.arange(8) % 4)
    assert identification_rate(searches, 3) == 0
    assert identification_rate(searches, 4) == 1


def test_blocks_are_the_whole():
    scores, answer = make_searches(1)
    blocks = rank_blocks((scores[:, start : start + 7], answer[start : start + 7]) for start in range(0, 40, 7))
    whole = rank_scores(scores, answer)
    for name in ("rank_N", "own_N", "best_N"):
        np.testing.assert_array_equal(getattr(blocks, name), getattr(whole, name))
    assert len(together([whole, whole])) == 80


def test_rates_do_not_change_with_a_monotone_map_or_the_order_of_speakers():
    scores, answer = make_searches(2)
    order = np.random.default_rng(0).permutation(6)
    moved = np.where(answer >= 0, np.argsort(order)[answer], -1)
    one, other = rank_scores(scores, answer), rank_scores(np.exp(scores)[order], moved)
    assert one.rank_N.tolist() == other.rank_N.tolist()
    assert dir_at_far(one, 0.1) == dir_at_far(other, 0.1)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_open_set_rates_are_those_of_loops(seed, rank):
    scores, answer = make_searches(seed)
    searches = rank_scores(scores, answer)
    thresholds, far, dirs = open_set_rates(searches, rank)
    assert (far[0], far[-1], dirs[-1]) == (1, 0, 0)
    for index, threshold in enumerate(thresholds):
        assert (far[index], dirs[index]) == pytest.approx(plain_rates(scores, answer, threshold, rank))
    for level in FARS:
        assert dir_at_far(searches, level, rank) == pytest.approx(plain_dir(scores, answer, level, rank))
    assert fnir_at_fpir(searches, 0.1, rank) == 1 - dir_at_far(searches, 0.1, rank)


def test_an_open_set_by_hand():
    # Two enrolled; best scores of strangers 0.5, 0.2; own scores 0.9 (rank 1), 0.4 (rank 1), 0.3 (rank 2).
    scores = np.array([[0.5, 0.1, 0.9, 0.4, 0.6], [0.3, 0.2, 0.0, 0.2, 0.3]])
    searches = rank_scores(scores, [-1, -1, 0, 0, 1])
    assert dir_at_far(searches, 0.0) == pytest.approx(1 / 3)
    assert dir_at_far(searches, 0.49) == pytest.approx(1 / 3)
    assert dir_at_far(searches, 0.5) == pytest.approx(2 / 3)
    assert dir_at_far(searches, 1.0, rank=2) == 1


@pytest.mark.parametrize("seed", range(3))
def test_replicates_are_those_of_repeated_searches(seed):
    scores, answer = make_searches(seed)
    speaker = np.where(answer < 0, 100 + np.arange(40) % 3, answer)
    found = bootstrap_dir_at_far(rank_scores(scores, answer), speaker, FARS, rng=np.random.default_rng(seed), num_replicates=8)
    rng = np.random.default_rng(seed)
    ids, code = np.unique(speaker, return_inverse=True)
    for row in found:
        repeated = np.empty(0, dtype=int)
        while len(set(answer[repeated] >= 0)) < 2:
            counts = np.bincount(rng.integers(ids.size, size=ids.size), minlength=ids.size)
            repeated = np.repeat(np.arange(40), counts[code])
        assert row == pytest.approx([plain_dir(scores[:, repeated], answer[repeated], far) for far in FARS])


def test_a_thinned_curve_keeps_corners():
    scores, answer = make_searches(3, num_searches=3000)
    searches = rank_scores(scores + np.random.default_rng(0).normal(0, 0.01, size=scores.shape), answer)
    _, far, dirs = open_set_rates(searches)
    for max_points in (5, 50, 10**6):
        x, y = thinned_curve(far, dirs, max_points)
        assert x.size <= max_points
        assert (np.diff(x) > 0).all()
        assert (np.diff(y) >= 0).all()
        assert x[-1] == 1
        assert all(height == dirs[far == place].max() for place, height in zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_scores(np.zeros((0, 3)), []), "not empty, found shape"),
        (lambda: rank_scores([[0.0, np.nan]], [0, 0]), "found nan in row 0, column 1"),
        (lambda: rank_scores([[0.0, 1.0]], [0]), "expected 2 whole numbers"),
        (lambda: rank_scores([[0.0, 1.0]], [0, 1]), "expected -1 to 0, found 0 to 1"),
        (lambda: rank_blocks([]), "at least one block"),
        (lambda: identified(rank_scores([[0.0]], [-1])), "searches of enrolled speakers, found none"),
        (lambda: identified(rank_scores([[0.0]], [0]), 0), "rank: expected at least 1"),
        (lambda: open_set_rates(rank_scores([[0.0]], [0])), "found 1 of enrolled speakers in 1"),
        (lambda: dir_at_far(rank_scores([[0.0, 1.0]], [0, -1]), 1.5), "from 0 to 1, found 1.5"),
        (lambda: bootstrap_dir_at_far(rank_scores([[0.0, 1.0]], [0, -1]), [1], (0.1,), rng=None), "each of 2 searches"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_equal_scores_that_differ_in_their_last_bits_identify_nobody():
    """As equal embeddings get from a matrix product; and of large ones a share counts."""
    rng = np.random.default_rng(7)
    for size in (0.3, 1.0, 500.0):
        scores = size * (1 + rng.choice([-1, 0, 1], size=(50, 20)) * 2e-16)
        assert len(np.unique(scores)) > 1
        assert (rank_scores(scores, rng.integers(50, size=20)).rank_N == 50).all()
    apart = np.array([[0.5], [0.5 - 1e-10], [0.5 - 1e-14]])
    assert [rank_scores(apart, np.array([row])).rank_N[0] for row in range(3)] == [2, 3, 2]
