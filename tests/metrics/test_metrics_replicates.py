"""Replicates found by blocks are those of one error curve each, to the last bit; weights are those of repeated trials."""

from functools import partial

import numpy as np
import pytest

from steps.metrics import replicates as module
from steps.metrics.cllr import cllr, min_cllr_of_curve
from steps.metrics.costs import act_dcf, min_dcf_of_curve
from steps.metrics.error_rates import eer_of_curve
from steps.metrics.replicates import (
    bootstrap_curves,
    bootstrap_eer,
    bootstrap_means,
    bootstrap_min_dcf,
    draw_replicates,
    figure_replicates,
)


def make_trials(seed: int, num_speakers: int, num_trials: int, digits: int):
    rng = np.random.default_rng(seed)
    is_target = rng.random(num_trials) < rng.uniform(0.05, 0.6)
    is_target[:2] = True, False
    enrol = rng.integers(num_speakers, size=num_trials)
    other = (enrol + 1 + rng.integers(num_speakers - 1, size=num_trials)) % num_speakers
    scores = (rng.normal(size=(3, num_trials)) + is_target * [[0.0], [1.5], [4.0]]).round(digits)
    return scores, is_target, enrol, np.where(is_target, enrol, other)


@pytest.mark.parametrize("same_speaker", ["square", "once"])
@pytest.mark.parametrize(("num_speakers", "num_trials", "digits"), [(2, 5, 0), (4, 30, 0), (12, 400, 1), (30, 2500, 6)])
def test_blocks_find_what_curves_give_bit_by_bit(num_speakers, num_trials, digits, same_speaker):
    scores, *trials = make_trials(num_trials, num_speakers, num_trials, digits)
    drawn = draw_replicates(*trials, rng=np.random.default_rng(1), num_replicates=40, same_speaker=same_speaker)
    np.testing.assert_array_equal(bootstrap_eer(scores, drawn), [bootstrap_curves(row, drawn, eer_of_curve) for row in scores])
    for p_target in (0.01, 0.3, 0.9):
        expected = [bootstrap_curves(row, drawn, partial(min_dcf_of_curve, p_target=p_target)) for row in scores]
        np.testing.assert_array_equal(bootstrap_min_dcf(scores, drawn, p_target), expected)


def test_scores_that_are_all_equal_have_one_threshold():
    scores, *trials = make_trials(1, 5, 60, 3)
    drawn = draw_replicates(*trials, rng=np.random.default_rng(1), num_replicates=20)
    np.testing.assert_array_equal(bootstrap_eer(np.zeros(60), drawn), np.full(20, 0.5))
    np.testing.assert_array_equal(bootstrap_min_dcf(np.zeros(60), drawn, 0.2), np.ones(20))


def test_chunks_change_nothing(monkeypatch):
    scores, *trials = make_trials(2, 10, 500, 2)
    drawn = draw_replicates(*trials, rng=np.random.default_rng(1), num_replicates=23)
    whole = bootstrap_eer(scores, drawn), bootstrap_means(scores, drawn)
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 200)
    assert len(list(drawn.chunks())) > 5
    np.testing.assert_array_equal(bootstrap_eer(scores, drawn), whole[0])
    np.testing.assert_allclose(bootstrap_means(scores, drawn), whole[1], rtol=1e-12)


@pytest.mark.parametrize("same_speaker", ["square", "once"])
def test_means_are_those_of_repeated_trials(same_speaker):
    scores, is_target, enrol, test = make_trials(3, 8, 200, 6)
    drawn = draw_replicates(is_target, enrol, test, rng=np.random.default_rng(4), num_replicates=10, same_speaker=same_speaker)
    rng = np.random.default_rng(4)
    found_t, found_n = bootstrap_means(scores[1], drawn)
    for replicate in range(10):
        counts = np.bincount(rng.integers(8, size=8), minlength=8)
        times = np.where((enrol == test) & (same_speaker == "once"), counts[enrol], counts[enrol] * counts[test])
        assert found_t[replicate] == pytest.approx(np.repeat(scores[1], times * is_target).mean(), rel=1e-12)
        assert found_n[replicate] == pytest.approx(np.repeat(scores[1], times * ~is_target).mean(), rel=1e-12)


def test_figures_of_llrs_are_those_of_repeated_trials():
    scores, is_target, enrol, test = make_trials(5, 9, 300, 6)
    drawn = draw_replicates(is_target, enrol, test, rng=np.random.default_rng(4), num_replicates=6)
    rng = np.random.default_rng(4)
    cost, information = (figure_replicates(figure, scores[1:2], drawn, p_target=0.1)[0] for figure in ("act_dcf", "cllr"))
    for replicate in range(6):
        counts = np.bincount(rng.integers(9, size=9), minlength=9)
        times = counts[enrol] * counts[test]
        target, nontarget = (np.repeat(scores[1], times * kind) for kind in (is_target, ~is_target))
        assert cost[replicate] == pytest.approx(act_dcf(target, nontarget, 0.1), rel=1e-12)
        assert information[replicate] == pytest.approx(cllr(target, nontarget), rel=1e-12)


def test_min_cllr_is_that_of_curves_and_unknown_figures_are_refused():
    scores, *trials = make_trials(6, 6, 80, 1)
    drawn = draw_replicates(*trials, rng=np.random.default_rng(1), num_replicates=5)
    expected = bootstrap_curves(scores[2], drawn, min_cllr_of_curve)
    np.testing.assert_array_equal(figure_replicates("min_cllr", scores[2:], drawn)[0], expected)
    with pytest.raises(ValueError, match="figure: expected one of eer, .*found 'f1'"):
        figure_replicates("f1", scores, drawn)


def test_the_first_valid_draws_are_kept_in_their_order():
    # Only speaker 0 has a target trial: about a third of the draws of three speakers miss it.
    is_target, enrol, test = np.array([True, False, False]), np.array([0, 0, 2]), np.array([0, 2, 1])
    drawn = draw_replicates(is_target, enrol, test, rng=np.random.default_rng(2), num_replicates=50)
    rng, kept = np.random.default_rng(2), []
    while len(kept) < 50:
        counts = np.bincount(rng.integers(3, size=3), minlength=3)
        if counts[0] and (counts[2] and (counts[0] or counts[1])):
            kept.append(counts)
    np.testing.assert_array_equal(drawn.counts_SR.T, kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(3)}, "expected one for each of 4 trials, found 3"),
        ({"scores": [0.0, np.inf, 0.0, 1.0]}, "finite"),
        ({"p_target": 1.0}, "p_target"),
        ({"same_speaker": "cube"}, "square or once"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"scores": np.arange(4.0), "p_target": 0.1, "same_speaker": "once"} | change
    with pytest.raises(ValueError, match=message):
        bootstrap_min_dcf(
            arguments["scores"],
            draw_replicates(
                [True, True, False, False], [0, 1, 0, 1], [0, 1, 1, 0],
                rng=np.random.default_rng(0), num_replicates=3, same_speaker=arguments["same_speaker"],
            ),
            arguments["p_target"],
        )  # fmt: skip
