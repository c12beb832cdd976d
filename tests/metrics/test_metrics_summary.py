"""The dictionary of figures holds what the single functions say, under the names of result.json."""

import json

import numpy as np
import pytest

from steps.metrics.cllr import cllr, min_cllr
from steps.metrics.costs import act_dcf, min_dcf
from steps.metrics.error_rates import eer, eer_rocch
from steps.metrics.summary import trial_figures


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
