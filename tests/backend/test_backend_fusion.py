"""Fusion against the closed-form LLR of independent Gaussian systems, gating by hand, selection against all pairs and loops."""

import itertools

import numpy as np
import pytest

from steps.backend.calibration import LinearCalibration
from steps.backend.estimator import get_state, set_state
from steps.backend.fusion import (
    CalibratedMeanFusion,
    GenderGatedFusion,
    GreedyFusion,
    LinearFusion,
    MeanFusion,
    cross_validated_llrs,
    greedy_order,
    speaker_folds,
    weighted_cllr,
)
from steps.metrics.cllr import cllr
from steps.metrics.error_rates import eer


def two_systems(seed: int = 0, num: int = 40_000):
    rng = np.random.default_rng(seed)
    truth = rng.random(num) < 0.4
    return rng.normal(size=(num, 2)) + truth[:, None] * np.array([1.0, 2.0]), truth


def test_weights_of_independent_gaussian_systems_are_their_gaps():
    # Unit normals with gaps 1 and 2: LLR = 1 s1 + 2 s2 - (1 + 4) / 2. Standard errors are near 0.03.
    scores, truth = two_systems()
    fusion = LinearFusion(0.5).fit(scores, truth)
    np.testing.assert_allclose(fusion.weights_K_, [1, 2], atol=0.12)
    assert fusion.offset_ == pytest.approx(-2.5, abs=0.12)


def test_fusion_beats_each_system():
    scores, truth = two_systems()
    llrs = LinearFusion(0.05).fit(scores[::2], truth[::2]).transform(scores[1::2])
    fused = eer(llrs[truth[1::2]], llrs[~truth[1::2]])
    # Closed form: gap sqrt(5), EER Phi(-sqrt(5) / 2) = 0.1318; the better system alone Phi(-1) = 0.1587.
    assert fused == pytest.approx(0.1318, abs=0.01)


def test_one_system_is_its_calibration():
    scores, truth = two_systems(num=2000)
    fused = LinearFusion(0.1).fit(scores[:, :1], truth).transform(scores[:, :1])
    np.testing.assert_array_equal(fused, LinearCalibration(0.1).fit(scores[:, 0], truth).transform(scores[:, 0]))


def test_a_system_and_its_copy_share_the_weight():
    scores, truth = two_systems(num=2000)
    alone = LinearCalibration(0.5).fit(scores[:, 0], truth).transform(scores[:, 0])
    twice = LinearFusion(0.5).fit(scores[:, [0, 0]], truth)
    assert twice.weights_K_[0] == pytest.approx(twice.weights_K_[1])
    # The ridge counts half for two equal weights, hence not bit for bit.
    np.testing.assert_allclose(twice.transform(scores[:, [0, 0]]), alone, atol=1e-3)


def test_mean_fusion_is_the_mean_of_standard_scores():
    train, test = np.array([[0.0, 10.0], [2.0, 30.0]]), np.array([[1.0, 20.0], [3.0, 20.0]])
    # Means 1 and 20, standard deviations (with n) 1 and 10.
    np.testing.assert_allclose(MeanFusion().fit(train).transform(test), [0.0, 1.0])


def test_bad_input_is_refused():
    scores, truth = two_systems(num=50)
    with pytest.raises(ValueError, match="expected 2 dimensions as in training, found 1"):
        LinearFusion(0.5).fit(scores, truth).transform(scores[:, :1])
    constant = np.column_stack([scores[:, 0], np.ones(50)])
    for fusion in (LinearFusion(0.5), MeanFusion()):
        with pytest.raises(ValueError, match="one value only in column 1"):
            fusion.fit(constant, truth)
        with pytest.raises(ValueError, match="call fit first"):
            fusion.transform(scores)


def test_calibrated_mean_is_the_calibration_of_the_mean():
    scores, truth = two_systems(num=3000)
    means = MeanFusion().fit(scores).transform(scores)
    fitted = CalibratedMeanFusion(0.1).fit(scores, truth)
    np.testing.assert_array_equal(fitted.means(scores), means)
    np.testing.assert_allclose(fitted.transform(scores), LinearCalibration(0.1).fit(means, truth).transform(means))


def test_gender_gating_by_hand():
    train = np.array([[0.0, 10.0, 100.0], [2.0, 30.0, 300.0]])  # means 1, 20, 200, deviations 1, 10, 100
    fusion = GenderGatedFusion().fit(train)
    scores = np.array([[3.0, 50.0, 1000.0]] * 5)  # standardised 2, 3, 8
    fused = fusion.transform(scores, [-1.0, 2.0, 1.0, -1.0, 0.0], [-3.0, 0.5, -1.0, 1.0, -2.0])
    #                                 male        female      mixed      mixed      0 counts as male
    np.testing.assert_allclose(fused, [(2 + 3) / 2, (2 + 8) / 2, 2, 2, (2 + 3) / 2])


def test_gender_gating_refuses_bad_input():
    with pytest.raises(ValueError, match="everybody, male, female.*expected 3 dimensions.*found 2"):
        GenderGatedFusion().fit(np.eye(2))
    fusion = GenderGatedFusion().fit(np.eye(3))
    for odds in ([1.0, 1.0], [1.0, np.nan, 1.0]):
        with pytest.raises(ValueError, match="test_log_odds: expected one finite number for each of 3 trials"):
            fusion.transform(np.eye(3), [1.0] * 3, odds)
    with pytest.raises(ValueError, match="call fit first"):
        GenderGatedFusion().transform(np.eye(3), [1.0] * 3, [1.0] * 3)


def speaker_trials(num_speakers: int = 12, each: int = 4):
    """All pairs of the utterances of some speakers: (truth, speakers of the first side, of the second)."""
    speakers = np.repeat([f"s{index:02d}" for index in range(num_speakers)], each)
    first, second = np.triu_indices(speakers.size, k=1)
    return speakers[first] == speakers[second], speakers[first], speakers[second]


def cost_by_loops(scores, truth, one, two, num_folds, prior):
    """The cross-validated cost, trial by trial: a fusion without the folds of both speakers."""
    names = sorted({*one, *two}, key=lambda name: (-int((truth & (one == name)).sum()), name))
    fold = {name: index % num_folds for index, name in enumerate(names)}
    llrs = np.empty(len(scores))
    for i in range(len(scores)):
        out = {fold[one[i]], fold[two[i]]}
        kept = [j for j in range(len(scores)) if fold[one[j]] not in out and fold[two[j]] not in out]
        llrs[i] = LinearFusion(prior).fit(scores[kept], truth[kept]).transform(scores[i : i + 1])[0]
    odds = llrs + np.log(prior / (1 - prior))
    cost = prior * np.logaddexp(0, -odds[truth]).mean() + (1 - prior) * np.logaddexp(0, odds[~truth]).mean()
    return cost / -(prior * np.log(prior) + (1 - prior) * np.log(1 - prior))


def test_each_trial_is_judged_by_a_fusion_that_knows_neither_speaker():
    truth, one, two = speaker_trials(num_speakers=7, each=2)
    scores = np.random.default_rng(0).normal(size=(truth.size, 2)) + truth[:, None]
    fold_N2 = speaker_folds(one, two, truth, 3)
    fusion = LinearFusion(0.2)
    llrs = cross_validated_llrs(fusion, scores, truth, fold_N2)
    assert not hasattr(fusion, "weights_K_")  # copies are fitted
    assert weighted_cllr(llrs[truth], llrs[~truth], 0.2) == pytest.approx(
        cost_by_loops(scores, truth, one, two, 3, 0.2), rel=1e-9
    )


def test_folds_share_speakers_and_target_trials_evenly():
    truth, one, two = speaker_trials(num_speakers=11)
    fold_N2 = speaker_folds(one, two, truth, 4)
    folds = {name: {*fold_N2[one == name, 0], *fold_N2[two == name, 1]} for name in {*one, *two}}
    assert all(len(found) == 1 for found in folds.values())
    assert sorted(np.bincount([min(found) for found in folds.values()])) == [2, 3, 3, 3]


def test_weighted_cllr_at_one_half_is_cllr():
    rng = np.random.default_rng(0)
    target, nontarget = rng.normal(1, 1, 50), rng.normal(-1, 1, 70)
    assert weighted_cllr(target, nontarget, 0.5) == pytest.approx(cllr(target, nontarget))
    assert weighted_cllr([0.0], [0.0], 0.03) == pytest.approx(1)


def greedy_case(seed: int):
    """Five systems: noise, a noisy copy of the good one, a weak one with errors of its own, the good one, and noise."""
    truth, one, two = speaker_trials()
    rng = np.random.default_rng(seed)
    good = rng.normal(size=truth.size) + 2.0 * truth
    copy = good + 1.0 * rng.normal(size=truth.size)
    weak = rng.normal(size=truth.size) + 1.2 * truth
    return np.column_stack([rng.normal(size=truth.size), copy, weak, good, rng.normal(size=truth.size)]), truth, one, two


def test_greedy_takes_the_good_one_and_the_one_with_other_errors():
    scores, truth, one, two = greedy_case(0)
    greedy = GreedyFusion(LinearFusion(0.3), num_folds=4).fit(scores, truth, one, two)
    assert greedy.order_[:2].tolist() == [3, 2]
    assert (np.diff(greedy.criteria_) < 0).all()
    assert not {0, 4} & set(greedy.order_.tolist())
    alone = LinearFusion(0.3).fit(scores[:, greedy.order_], truth)
    np.testing.assert_array_equal(greedy.transform(scores), alone.transform(scores[:, greedy.order_]))


@pytest.mark.parametrize("seed", [1, 2])
def test_greedy_finds_the_best_pair_of_all_pairs(seed):
    scores, truth, one, two = greedy_case(seed)
    greedy = GreedyFusion(LinearFusion(0.3), max_systems=2, num_folds=4).fit(scores, truth, one, two)
    fold_N2 = speaker_folds(one, two, truth, 4)
    costs = {}
    for pair in itertools.combinations(range(5), 2):
        llrs = cross_validated_llrs(LinearFusion(0.3), scores[:, pair], truth, fold_N2)
        costs[pair] = weighted_cllr(llrs[truth], llrs[~truth], 0.3)
    assert tuple(sorted(greedy.order_)) == min(costs, key=costs.get)
    assert greedy.criteria_[-1] == pytest.approx(min(costs.values()))


def test_greedy_order_of_a_known_cost():
    worth = {0: 3.0, 1: 5.0, 2: 5.0, 3: 0.0}
    calls = []

    def cost(columns):
        calls.append(tuple(columns))
        return 20 - sum(worth[column] for column in columns)

    assert greedy_order(cost, 4) == ([1, 2, 0], [15.0, 10.0, 7.0])  # of 1 and 2 the first; 3 lowers nothing
    assert len(calls) == 4 + 3 + 2 + 1
    assert greedy_order(cost, 4, 2) == ([1, 2], [15.0, 10.0])


def test_greedy_uses_the_criterion_and_the_fusion_it_is_given():
    scores, truth, one, two = greedy_case(3)
    greedy = GreedyFusion(CalibratedMeanFusion(0.3), num_folds=4, criterion=eer).fit(scores, truth, one, two)
    llrs = cross_validated_llrs(CalibratedMeanFusion(0.3), scores[:, greedy.order_], truth, speaker_folds(one, two, truth, 4))
    assert greedy.criteria_[-1] == eer(llrs[truth], llrs[~truth])
    with pytest.raises(ValueError, match="expected 5 dimensions as in training, found 2"):
        greedy.transform(scores[:, :2])


def test_greedy_state_is_plain():
    scores, truth, one, two = greedy_case(4)
    greedy = GreedyFusion(LinearFusion(0.3), num_folds=4).fit(scores, truth, one, two)
    other = GreedyFusion(LinearFusion(0.3))
    set_state(other, get_state(greedy))
    np.testing.assert_array_equal(other.transform(scores), greedy.transform(scores))


def test_cross_validation_refuses_too_few_speakers():
    truth, one, two = speaker_trials(num_speakers=5)
    scores = np.random.default_rng(0).normal(size=(truth.size, 2))
    for folds in (2, 3):
        with pytest.raises(ValueError, match=f"num_folds: expected 3 or more.* found {folds} for 5 speakers"):
            GreedyFusion(LinearFusion(0.5), num_folds=folds).fit(scores, truth, one, two)
    truth, one, two = speaker_trials(num_speakers=6)
    scores = np.random.default_rng(0).normal(size=(truth.size, 2))
    known = truth & (one < "s01")  # only the first speaker has target trials
    with pytest.raises(ValueError, match="without the speakers of folds 0 and 0 there are 0 targets"):
        GreedyFusion(LinearFusion(0.5), num_folds=3).fit(scores, known, one, two)
    with pytest.raises(ValueError, match="speakers: expected one for each side of"):
        speaker_folds(one[:-1], two, truth, 3)
    with pytest.raises(ValueError, match="max_systems: expected at least 1, found 0"):
        GreedyFusion(LinearFusion(0.5), max_systems=0).fit(scores, truth, one, two)
