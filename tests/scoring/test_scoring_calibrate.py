"""Calibration of lists: forms, qualities of both sides, and the way through a file."""

from types import SimpleNamespace

import numpy as np
import pytest

from steps.backend.items import Items
from steps.backend.scorer import Scorer
from steps.backend.settings import Score
from steps.core.errors import RecipeError
from steps.data.trials import Trials
from steps.scoring import calibrate
from steps.scoring.calibrate import Calibrator
from steps.scoring.embedded import Embedded
from steps.scoring.lists import TrialRows

RNG = np.random.default_rng(0)
NUM = 40
IDS = [f"u{i:02}" for i in range(NUM)]
X_ND = RNG.normal(size=(10, 5)).repeat(4, axis=0) + 0.8 * RNG.normal(size=(NUM, 5))
SECONDS = RNG.uniform(2, 9, NUM)
EMBEDDED = Embedded(IDS, Items.single(X_ND))
PAIRS = np.array(np.triu_indices(NUM, 1))
TRUTH = PAIRS[0] // 4 == PAIRS[1] // 4
FORMS = {
    "linear": {},
    "isotonic": {"calibration_form": "isotonic"},
    "quality": {"quality": ("duration", "magnitude", "cohort_mean"), "norm_top": 5},
}


@pytest.fixture(autouse=True)
def _durations(monkeypatch):
    monkeypatch.setattr(calibrate, "durations", lambda manifests, set_name, ids: SECONDS)


def rows(pairs=PAIRS, truth=TRUTH, enrol=None, enrol_rows=()) -> TrialRows:
    names = [f"m{i}" for i in pairs[0]] if enrol else [IDS[i] for i in pairs[0]]
    trials = Trials(names, [IDS[i] for i in pairs[1]], truth)
    return TrialRows(SimpleNamespace(stem="list"), trials, enrol, enrol_rows, pairs[0], pairs[1], 0, {})


def calibrator(tmp_path, form: str) -> tuple[Calibrator, np.ndarray]:
    settings = Score(transforms=("mean",), **FORMS[form])
    scorer = Scorer(settings).fit(X_ND, np.arange(NUM) // 4)
    return Calibrator(settings, scorer, tmp_path), scorer.score(EMBEDDED.items, *PAIRS)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_fitted_comes_back_from_its_file(tmp_path, form):
    first, scores = calibrator(tmp_path, form)
    first.fit(rows(), scores, EMBEDDED, "dev")
    llrs = first.transform(rows(), scores, EMBEDDED, "dev")
    first.save(tmp_path, len(scores))
    again, _ = calibrator(tmp_path, form)
    assert again.load(tmp_path)
    np.testing.assert_allclose(again.transform(rows(), scores, EMBEDDED, "dev"), llrs, rtol=1e-12)
    assert llrs[TRUTH].mean() > 0 > llrs[~TRUTH].mean()


def test_a_calibration_of_another_form_is_refused_and_none_is_none(tmp_path):
    first, scores = calibrator(tmp_path, "linear")
    assert not first.load(tmp_path)
    first.fit(rows(), scores, EMBEDDED, "dev")
    first.save(tmp_path, len(scores))
    with pytest.raises(RecipeError, match=r"form 'linear'; expected 'isotonic'"):
        calibrator(tmp_path, "isotonic")[0].load(tmp_path)


def test_qualities_are_those_of_both_sides(tmp_path):
    found = calibrator(tmp_path, "quality")[0]._qualities(rows(), EMBEDDED, "dev")
    assert found.shape == (len(TRUTH), 6)
    logs, lengths = np.log(SECONDS), np.linalg.norm(X_ND, axis=1)
    for column, values in ((0, logs), (2, lengths)):
        np.testing.assert_allclose(found[:, column], np.minimum(values[PAIRS[0]], values[PAIRS[1]]))
        np.testing.assert_allclose(found[:, column + 1], np.maximum(values[PAIRS[0]], values[PAIRS[1]]))


def test_a_model_lasts_as_long_as_its_utterances_together(tmp_path):
    enrol_rows = (np.array([0, 1]), np.array([4, 5, 6]))
    models = rows(np.array([[0, 1], [2, 7]]), np.array([True, True]), EMBEDDED.items.joined(list(enrol_rows)), enrol_rows)
    found = calibrator(tmp_path, "quality")[0]._qualities(models, EMBEDDED, "dev")
    np.testing.assert_allclose(found[:, 1], np.log([SECONDS[:2].sum(), SECONDS[4:7].sum()]))  # the longer side is the model
    mean = np.stack([X_ND[each].mean(axis=0) for each in enrol_rows])
    sides = np.linalg.norm(mean, axis=1), np.linalg.norm(X_ND[[2, 7]], axis=1)
    np.testing.assert_allclose(found[:, 2], np.minimum(*sides))


def test_each_set_has_measures_of_its_own(tmp_path):
    """Also where the embeddings of one set take the place in memory of those of another."""
    first, scores = calibrator(tmp_path, "quality")
    first.fit(rows(), scores, EMBEDDED, "dev")
    other = Embedded(IDS, Items.single(2 * X_ND))
    found = first._qualities(rows(), other, "test")
    np.testing.assert_allclose(found[:, 2:4], 2 * first._qualities(rows(), EMBEDDED, "dev")[:, 2:4])
