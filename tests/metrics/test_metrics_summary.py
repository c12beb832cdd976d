"""The dictionary of figures holds what the single functions say, under the names of result.json."""

import functools
import json

import numpy as np
import pytest

from steps.metrics.cllr import cllr, min_cllr
from steps.metrics.costs import act_dcf, min_dcf, min_dcf_of_curve
from steps.metrics.error_rates import eer, eer_rocch
from steps.metrics.intervals import interval, speaker_bootstrap
from steps.metrics.summary import trial_figures, trial_intervals


def make_scores():
    rng = np.random.default_rng(8)
    truth = rng.random(400) < 0.3
    return rng.normal(size=400) + 2 * truth, truth


def test_figures_equal_the_single_functions():
    scores, truth = make_scores()
    llrs = 2 * scores - 2
    figures = trial_figures(scores, truth, llrs=llrs, priors=(0.01, 0.5))
    assert figures == {
        "eer": eer(scores[truth], scores[~truth]),
        "eer_rocch": eer_rocch(scores[truth], scores[~truth]),
        "min_dcf": {str(p): min_dcf(scores[truth], scores[~truth], p) for p in (0.01, 0.5)},
        "act_dcf": {str(p): act_dcf(llrs[truth], llrs[~truth], p) for p in (0.01, 0.5)},
        "cllr": cllr(llrs[truth], llrs[~truth]),
        "min_cllr": min_cllr(scores[truth], scores[~truth]),
    }
    assert json.loads(json.dumps(figures)) == figures


def test_without_calibration_act_dcf_and_cllr_are_none():
    scores, truth = make_scores()
    figures = trial_figures(scores, truth)
    assert figures["act_dcf"] is None
    assert figures["cllr"] is None
    assert list(figures["min_dcf"]) == ["0.01", "0.05"]
    assert figures["min_cllr"] > 0


def test_llrs_of_another_length_are_refused():
    scores, truth = make_scores()
    with pytest.raises(ValueError, match="llrs: expected one a score, that is 400, found 399"):
        trial_figures(scores, truth, llrs=scores[:-1])


def test_intervals_are_those_of_the_single_bootstraps():
    scores, truth = make_scores()
    rng = np.random.default_rng(9)
    enrol = rng.integers(12, size=400)
    trials = truth, enrol, np.where(truth, enrol, (enrol + 1 + rng.integers(11, size=400)) % 12)
    found = trial_intervals(scores, *trials, rng=np.random.default_rng(3), llrs=2 * scores - 2, priors=(0.1,), num_replicates=50)
    eers = speaker_bootstrap(scores, *trials, rng=np.random.default_rng(3), num_replicates=50)
    assert found["eer_ci95"] == list(interval(eers))
    statistic = functools.partial(min_dcf_of_curve, p_target=0.1)
    costs = speaker_bootstrap(scores, *trials, rng=np.random.default_rng(3), num_replicates=50, statistic=statistic)
    assert found["min_dcf_ci95"] == {"0.1": list(interval(costs))}
    target, nontarget = 2 * scores[truth] - 2, 2 * scores[~truth] - 2
    for (low, high), value in (
        (found["cllr_ci95"], cllr(target, nontarget)),
        (found["act_dcf_ci95"]["0.1"], act_dcf(target, nontarget, 0.1)),
    ):
        assert low < value < high
        assert high - low < value
    assert json.loads(json.dumps(found)) == found
    without = trial_intervals(scores, *trials, rng=np.random.default_rng(3), priors=(0.1,), num_replicates=50)
    assert without == found | {"act_dcf_ci95": None, "cllr_ci95": None}
    with pytest.raises(ValueError, match="llrs: expected one a score, that is 400, found 1"):
        trial_intervals(scores, *trials, rng=np.random.default_rng(3), llrs=[1.0])
