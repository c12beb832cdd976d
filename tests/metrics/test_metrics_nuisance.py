"""Rates of what is not the voice: closed forms, and all decisions tried one by one."""

import numpy as np
import pytest

from steps.metrics.nuisance import chance_width, nuisance_eer, target_shares


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_least_error_of_the_worst_prior_in_the_better_direction(seed):
    rng = np.random.default_rng(seed)
    values, is_target = rng.integers(0, 4, size=40), rng.random(40) < 0.4
    better = min(_one_direction(values, is_target), _one_direction(-values, is_target))
    assert nuisance_eer(values, is_target) == pytest.approx(better, abs=1e-4)


def _one_direction(values, is_target):
    """The least error of the worst prior, every threshold tried."""
    points = set()
    for threshold in [*np.unique(values), np.inf]:
        accepted = values >= threshold
        points.add((np.mean(accepted[~is_target]), np.mean(~accepted[is_target])))
    return max(min(p * miss + (1 - p) * fa for fa, miss in points) for p in np.linspace(0, 1, 20_001))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_one_gender_alone_has_the_rate_of_its_closed_form(share):
    """Targets always match; where a share of the others does too, the line of the hull has miss = false alarm there."""
    is_target = np.repeat([True, False], 400)
    same = np.concatenate([np.ones(400), np.arange(400) < share * 400])
    assert nuisance_eer(same, is_target) == pytest.approx(share / (1 + share))


def test_what_tells_is_found_in_either_direction():
    is_target = np.array([True] * 5 + [False] * 5)
    assert nuisance_eer([1.0] * 5 + [2.0] * 5, is_target) == nuisance_eer([2.0] * 5 + [1.0] * 5, is_target) == 0


def test_chance_stays_within_its_width():
    rng = np.random.default_rng(1)
    is_target = np.arange(600) < 100
    found = [nuisance_eer(rng.standard_normal(600), is_target) for _ in range(200)]
    assert np.mean([0.5 - each > chance_width(100, 500) for each in found]) < 0.03
    assert chance_width(100, 500) < 0.1


def test_shares_are_those_counted_one_by_one():
    rng = np.random.default_rng(2)
    is_target, group = rng.random(300) < 0.3, rng.choice([0, 1, 4], size=300)
    share_G, num_G = target_shares(is_target, group)
    for number in (0, 1, 4):
        members = [truth for truth, each in zip(is_target, group, strict=True) if each == number]
        assert (share_G[number], num_G[number]) == (pytest.approx(sum(members) / len(members)), len(members))
    assert np.isnan(share_G[2])


@pytest.mark.parametrize("is_target", [[True, True], [False, False]])
def test_trials_of_one_kind_are_refused(is_target):
    with pytest.raises(ValueError, match="trial"):
        nuisance_eer([1.0, 2.0], is_target)


def test_shares_and_width_refuse_what_has_none():
    with pytest.raises(ValueError, match="a group for each trial"):
        target_shares([True], [0, 1])
    with pytest.raises(ValueError, match="both kinds"):
        chance_width(0, 3)
