"""Figures of chunks against the figures of all trials at once, with limits so low that every way is taken."""

import numpy as np
import pytest

from steps.metrics import streaming
from steps.metrics.costs import min_dcf
from steps.metrics.error_rates import eer, eer_rocch
from steps.metrics.streaming import stream_figures

PRIORS = (0.01, 0.3, 0.9)


def trials(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truths; now coarse and full of ties, now of both signs and many sizes, in single or double precision."""
    rng = np.random.default_rng(seed)
    is_target = rng.random(rng.integers(20, 2000)) < rng.choice([0.05, 0.5, 0.9])
    is_target[:2] = True, False
    scores = rng.normal(size=is_target.size) + 2 * is_target
    scores = [scores, scores.round(1), np.sinh(3 * scores), 1e6 + scores][seed % 4]
    return scores.astype(np.float32 if seed % 3 else np.float64), is_target


def in_chunks(scores, is_target, seed=0):
    edges = np.sort(np.random.default_rng(seed).integers(0, scores.size, size=5))
    return list(zip(np.split(scores, edges), np.split(is_target, edges), strict=True))


@pytest.mark.parametrize(("first_bits", "max_bins", "max_scores"), [(20, 1 << 21, 4_000_000), (6, 16, 0), (4, 8, 20)])
def test_figures_are_those_of_all_trials_at_once_bit_for_bit(monkeypatch, first_bits, max_bins, max_scores):
    for name, value in (("FIRST_BITS", first_bits), ("MAX_BINS", max_bins), ("MAX_SCORES", max_scores), ("_SLICE", 100)):
        monkeypatch.setattr(streaming, name, value)
    for seed in range(12 if first_bits == 20 else 20):
        if first_bits == 20:  # a million bins at once and no need of small slices
            monkeypatch.setattr(streaming, "_SLICE", 1 << 20)
        scores, is_target = trials(seed)
        found = stream_figures(in_chunks(scores, is_target), priors=PRIORS)
        kinds = scores[is_target], scores[~is_target]
        assert found["eer"] == eer(*kinds)
        assert found["min_dcf"] == {str(prior): min_dcf(*kinds, prior) for prior in PRIORS}
        # A point within an edge of the hull may be one of its corners for one and not for the other.
        assert found["eer_rocch"] == pytest.approx(eer_rocch(*kinds), abs=1e-15)
        assert (found["num_target"], found["num_nontarget"]) == (kinds[0].size, kinds[1].size)


def test_few_readings_look_into_few_cells():
    rng = np.random.default_rng(1)
    is_target = rng.random(300_000) < 0.1
    scores = (rng.normal(size=is_target.size) + 3 * is_target).astype(np.float32)
    readings = []
    stream_figures([(scores, is_target)], progress=lambda number, cells: readings.append((number, cells)))
    assert readings[0] == (1, 1)
    assert len(readings) <= 4
    assert max(cells for _, cells in readings) < 1000


def test_zeros_of_both_signs_are_one_threshold():
    scores = np.array([-0.0, 0.0, -0.0, 0.0, 1.0, -1.0])
    is_target = np.array([True, False, False, True, True, False])
    assert stream_figures([(scores, is_target)])["eer"] == eer(scores[is_target], scores[~is_target])


def test_infinity_as_a_last_threshold_and_one_value_only():
    found = stream_figures([(np.ones(5), np.array([1, 0, 0, 0, 1]))])
    assert (found["eer"], found["eer_rocch"], found["min_dcf"]["0.01"]) == (0.5, 0.5, 1.0)
    assert stream_figures([([0.0, 1.0], [1, 0])], rocch=False)["eer_rocch"] is None


class Changing:
    """Other scores at each reading."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __iter__(self):
        yield self.rng.normal(size=1000), np.arange(1000) % 2 == 0


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (iter([([1.0], [1])]), "several times, found an iterator"),
        ([([1.0, np.nan], [1, 0])], "scores of chunk 0: expected finite numbers, found 1 other"),
        ([([1.0], [1]), ([1.0, -np.inf], [1, 0])], "scores of chunk 1: expected finite"),
        ([([1.0, 2.0], [1])], "is_target of chunk 0: expected 2 booleans"),
        ([([1.0, 2.0], [1, 2])], "is_target of chunk 0"),
        ([([1.0, 2.0], [1, 1])], "both kinds, found 2 targets in 2 trials"),
        ([], "found 0 targets in 0 trials"),
        ([(np.ones(2, np.float32), [1, 0]), (np.ones(1), [1])], "chunk 1: expected float32 as in the first"),
        (Changing(), "same scores at each reading"),
    ],
)
def test_bad_chunks_are_refused(chunks, message):
    with pytest.raises(ValueError, match=message):
        stream_figures(chunks)


def test_a_prior_outside_0_and_1_is_refused():
    with pytest.raises(ValueError, match="p_target"):
        stream_figures([([1.0, 0.0], [1, 0])], priors=(1.0,))
