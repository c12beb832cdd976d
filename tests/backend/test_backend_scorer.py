"""The back end as settings put it together: against its parts done by hand, and after a round trip through a file."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from steps.backend.adaptation import Coral, adapt_coral_plus, adapt_kaldi
from steps.backend.items import Items
from steps.backend.plda import PLDA
from steps.backend.scorer import Scorer
from steps.backend.settings import Score
from steps.backend.windows import Windows
from steps.data.archive import load_arrays, save_arrays

DIM, NUM_SPEAKERS, EACH = 6, 20, 5


def embeddings(seed: int, num_speakers: int = NUM_SPEAKERS, each: int = EACH):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(num_speakers), each)
    x_ND = 3.0 + 2.0 * rng.normal(size=(num_speakers, DIM))[codes] + rng.normal(size=(len(codes), DIM))
    return x_ND, np.array([f"s{code:02d}" for code in codes])


TRAIN, SPEAKERS = embeddings(0)
TEST, _ = embeddings(1, 4)
ENROL_P, TEST_P = (index.ravel() for index in np.indices((len(TEST), len(TEST))))

SETTINGS = {
    "cosine": {"transforms": ()},
    "mean": {"transforms": ("mean",)},
    "lda": {"transforms": ("mean", "lda", "length_norm"), "lda_dim": 3},
    "but": {"transforms": ("lda",), "lda_dim": 3, "lda_form": "but"},
    "whiten": {"transforms": ("whiten", "length_norm")},
    "plda": {"transforms": ("mean", "lda", "length_norm"), "lda_dim": 4, "backend": "plda"},
    "plda_smooth": {"transforms": ("mean",), "backend": "plda", "plda_smoothing": 0.3, "plda_length_norm": "none"},
    "s_norm": {"transforms": ("mean",), "norm": "s_norm"},
    "as_norm": {"transforms": ("mean", "length_norm"), "norm": "as_norm", "norm_top": 7},
    "plda_as_norm": {"transforms": ("mean",), "backend": "plda", "norm": "as_norm", "norm_top": 7},
    "simplified": {"transforms": ("mean",), "backend": "plda", "plda_rank": 3},
    "heavy_tailed": {"transforms": ("mean",), "backend": "ht_plda", "ht_dim": 3},
    "gaussian": {"transforms": ("mean",), "backend": "ht_plda", "ht_dim": 3, "ht_degrees": 0.0, "norm": "s_norm"},
}


def fitted(**settings) -> Scorer:
    return Scorer(Score(**settings)).fit(TRAIN, SPEAKERS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_back_end_from_a_file_scores_as_the_one_that_was_fitted(tmp_path, name):
    first = fitted(**SETTINGS[name])
    save_arrays(tmp_path / "backend.safetensors", first.state())
    again = Scorer(Score(**SETTINGS[name])).load(load_arrays(tmp_path / "backend.safetensors"))
    expected = first.score(TEST, ENROL_P, TEST_P)
    np.testing.assert_array_equal(again.score(TEST, ENROL_P, TEST_P), expected)
    assert np.ptp(expected) > 0


@pytest.mark.parametrize("name", SETTINGS)
def test_scores_do_not_care_which_side_enrols(name):
    scorer = fitted(**SETTINGS[name])
    one, other = scorer.score(TEST, ENROL_P, TEST_P), scorer.score(TEST, TEST_P, ENROL_P)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 * np.abs(one).max())


@pytest.mark.parametrize("name", SETTINGS)
def test_same_speakers_score_higher(name):
    """Four test speakers of five utterances each: a target trial beats a non-target trial far more often than not."""
    scores = fitted(**SETTINGS[name]).score(TEST, ENROL_P, TEST_P)
    same = ENROL_P // EACH == TEST_P // EACH
    targets = scores[same & (ENROL_P != TEST_P)]
    assert (targets[:, None] > scores[~same]).mean() > 0.75


@pytest.mark.parametrize("settings", [*SETTINGS.values(), {"transforms": (), "norm": "s_norm"}])
def test_what_needs_training_is_refused_without(settings):
    scorer = Scorer(Score(**settings))
    if settings == SETTINGS["cosine"]:
        assert not scorer.needs_training
        assert scorer.state() == {}
        return
    assert scorer.needs_training
    with pytest.raises(ValueError, match="expected a fitted estimator"):
        scorer.score(TEST, ENROL_P, TEST_P)


def test_length_norm_alone_needs_no_training():
    assert not Scorer(Score(transforms=("length_norm",))).needs_training


def test_cosine_of_centred_embeddings_by_hand():
    centred = TEST - TRAIN.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(fitted(**SETTINGS["mean"]).score(TEST, ENROL_P, TEST_P), (unit @ unit.T).ravel())


def unit_rows(x_ND: np.ndarray) -> np.ndarray:
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def normalised(scores_NN: np.ndarray, cohort_NC: np.ndarray, top: int) -> np.ndarray:
    """Adaptive s-norm written out, trial by trial."""
    found = np.empty_like(scores_NN)
    for i in range(len(scores_NN)):
        for j in range(len(scores_NN)):
            nearest = [np.sort(cohort_NC[side])[-top:] for side in (i, j)]
            found[i, j] = 0.5 * sum((scores_NN[i, j] - each.mean()) / each.std() for each in nearest)
    return found


@pytest.mark.parametrize(("norm", "top"), [("as_norm", 7), ("s_norm", NUM_SPEAKERS)])
def test_score_normalisation_of_cosines_by_hand(norm, top):
    """The cohort: unit vectors averaged by speaker."""
    mean = TRAIN.mean(axis=0)
    test = unit_rows(TEST - mean)
    cohort = unit_rows(np.stack([unit_rows(TRAIN - mean)[s == SPEAKERS].mean(axis=0) for s in np.unique(SPEAKERS)]))
    expected = normalised(test @ test.T, test @ cohort.T, top)
    scorer = fitted(transforms=("mean",), norm=norm, norm_top=7)
    np.testing.assert_allclose(scorer.score(TEST, ENROL_P, TEST_P), expected.ravel(), atol=1e-5)  # products in float32


def test_score_normalisation_of_plda_compares_with_the_speakers_means_as_they_are():
    """The space of embeddings has no unit of length: a cohort cut to length 1 lay in another place than the speakers."""
    plda = PLDA(10, "none").fit(TRAIN - TRAIN.mean(axis=0), SPEAKERS)
    test = TEST - TRAIN.mean(axis=0)
    cohort = np.stack([(TRAIN - TRAIN.mean(axis=0))[s == SPEAKERS].mean(axis=0) for s in np.unique(SPEAKERS)])
    expected = normalised(plda.score_matrix(test, test), plda.score_matrix(test, cohort), 7)
    scorer = fitted(transforms=("mean",), backend="plda", plda_length_norm="none", norm="as_norm", norm_top=7)
    np.testing.assert_allclose(scorer.score(TEST, ENROL_P, TEST_P), expected.ravel(), rtol=1e-8)


def test_plda_by_its_parts():
    plain = fitted(transforms=("mean",), backend="plda", plda_iterations=3, plda_length_norm="simple")
    plda = PLDA(3, "simple").fit(TRAIN - TRAIN.mean(axis=0), SPEAKERS)
    centred = TEST - TRAIN.mean(axis=0)
    np.testing.assert_allclose(plain.score(TEST, ENROL_P, TEST_P), plda.score_matrix(centred, centred).ravel())


def test_smoothing_reaches_the_plda():
    smoothed = fitted(**SETTINGS["plda_smooth"])
    plain = PLDA(10, "none").fit(TRAIN - TRAIN.mean(axis=0), SPEAKERS)
    between, within = plain.covariances()
    found_between, found_within = smoothed.model.covariances()
    np.testing.assert_allclose(found_within, within + 0.3 * between)
    np.testing.assert_allclose(found_between, between)


def test_a_cohort_that_is_too_small_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="norm_top: expected at most 20, the number of training speakers, found 300"):
        fitted(transforms=("mean",), norm="as_norm")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transforms": ("mean", "lda"), "lda_dim": 20}, "dim: expected"),
        ({"transforms": ("mean", "lda"), "lda_dim": DIM + 1}, "dim: expected"),
    ],
)
def test_what_the_data_cannot_give_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fitted(**settings)


def test_fitting_leaves_the_embeddings_alone():
    before = TRAIN.copy()
    fitted(**SETTINGS["plda_as_norm"]).score(TEST, ENROL_P, TEST_P)
    np.testing.assert_array_equal(TRAIN, before)


LEARNED = {
    "transforms": ("mean",), "backend": "learned", "learned_width": 32, "learned_layers": 1, "learned_dropout": 0.0,
    "learned_epochs": 6, "learned_batches": 50, "learned_pairs": 20,
}  # fmt: skip
WINDOWS = {
    "linkage": {"backend": "linkage", "linkage": "complete"},
    "dominant_sets": {"backend": "dominant_sets", "linkage": "ward"},
    "pairwise": {"transforms": ("mean", "length_norm"), "backend": "pairwise"},
    "learned": LEARNED | {"learned_linkage": True},
}


def windowed(x_ND: np.ndarray, seed: int) -> Items:
    """Two or three windows around each embedding."""
    rng = np.random.default_rng(seed)
    windows = Windows.of([row + 0.3 * rng.normal(size=(2 + index % 2, DIM)) for index, row in enumerate(x_ND)])
    return Items.single(windows.means(), windows)


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_compared_after_a_round_trip_too(tmp_path, name):
    train, test = windowed(TRAIN, 2), windowed(TEST, 3)

    def made() -> Scorer:
        return Scorer(Score(**WINDOWS[name]))

    first = made().fit(train.vectors(), SPEAKERS)
    if name == "learned":
        first.fit_learned(train, SPEAKERS)
    save_arrays(tmp_path / "backend.safetensors", first.state())
    scores = first.score(test, ENROL_P, TEST_P)
    np.testing.assert_array_equal(made().load(load_arrays(tmp_path / "backend.safetensors")).score(test, ENROL_P, TEST_P), scores)
    same = ENROL_P // EACH == TEST_P // EACH
    assert (scores[same & (ENROL_P != TEST_P)][:, None] > scores[~same]).mean() > 0.75
    with pytest.raises(ValueError, match=r"embed\.window"):
        first.score(test.vectors(), ENROL_P, TEST_P)


def test_linkage_is_of_the_transformed_windows():
    train, test = windowed(TRAIN, 2), windowed(TEST, 3)
    scorer = Scorer(Score(transforms=("mean",), backend="linkage")).fit(train.vectors(), SPEAKERS)
    scores = scorer.score(test, np.array([0, 7]), np.array([1, 12]))
    for score, (a, b) in zip(scores, [(0, 1), (7, 12)], strict=True):
        stack = np.concatenate([test.windows.item(a), test.windows.item(b)]) - train.vectors().mean(axis=0)
        assert score == pytest.approx(-linkage(pdist(stack, "cosine"), "average")[-1, 2])


MODELS = [np.array([0, 1, 2]), np.array([5, 6])]  # enrolled with utterances of the first and the second speaker
OF_MODEL, OTHERS = np.array([0, 0, 1, 1]), np.array([3, 12, 8, 16])


@pytest.mark.parametrize(("enrolment", "num"), [("by_the_book", [3, 2]), ("mean", [1, 1])])
def test_plda_takes_several_utterances_by_the_book_or_as_one(enrolment, num):
    scorer = fitted(transforms=("mean",), backend="plda", enrolment=enrolment)
    centred = TEST - TRAIN.mean(axis=0)
    plda = PLDA(10, "kaldi").fit(TRAIN - TRAIN.mean(axis=0), SPEAKERS)
    means = np.stack([centred[rows].mean(axis=0) for rows in MODELS])
    expected = plda.score_matrix(means, centred, np.array(num))[OF_MODEL, OTHERS]
    items = Items.single(TEST)
    np.testing.assert_allclose(scorer.score(items, OF_MODEL, OTHERS, enrol=items.joined(MODELS)), expected)


@pytest.mark.parametrize("backend", ["cosine", "plda"])
def test_the_mean_of_scores_is_just_that(backend):
    scorer = fitted(transforms=("mean",), backend=backend, enrolment="scores")
    items = Items.single(TEST)
    found = scorer.score(items, OF_MODEL, OTHERS, enrol=items.joined(MODELS))
    expected = [scorer.score(TEST, MODELS[m], np.full(len(MODELS[m]), t)).mean() for m, t in zip(OF_MODEL, OTHERS, strict=True)]
    np.testing.assert_allclose(found, expected)


def test_a_model_is_normalised_as_the_mean_that_it_is():
    """z-norm standardises with the enrolled side, t-norm with the tested one, s-norm is the mean of both."""
    items = Items.single(TEST)
    enrol = items.joined(MODELS)
    z, t, s = (
        fitted(transforms=("mean",), norm=norm).score(items, OF_MODEL, OTHERS, enrol=enrol)
        for norm in ("z_norm", "t_norm", "s_norm")
    )
    np.testing.assert_allclose(s, (z + t) / 2)
    mean = TRAIN.mean(axis=0)
    cohort = unit_rows(np.stack([unit_rows(TRAIN - mean)[x == SPEAKERS].mean(axis=0) for x in np.unique(SPEAKERS)]))
    models = unit_rows(np.stack([(TEST - mean)[rows].mean(axis=0) for rows in MODELS]))
    scores, of_cohort = models @ unit_rows(TEST - mean).T, models @ cohort.T
    expected = (scores - of_cohort.mean(axis=1, keepdims=True)) / of_cohort.std(axis=1, keepdims=True)
    np.testing.assert_allclose(z, expected[OF_MODEL, OTHERS], atol=1e-5)  # products in float32


@pytest.mark.parametrize(("backend", "enrolment"), [("plda", "by_the_book"), ("plda", "scores"), ("cosine", "scores")])
def test_models_meet_the_cohort_as_they_meet_tests(backend, enrolment):
    """The statistics of a model are those of its scores as trials have them, not of its mean embedding."""
    settings = {"transforms": ("mean",), "backend": backend, "enrolment": enrolment}
    plain, items = fitted(**settings), Items.single(TEST)
    scorer, enrol = fitted(**settings, norm="z_norm"), items.joined(MODELS)
    cohort = Items.single(scorer.cohort_CD_ + TRAIN.mean(axis=0))  # as an embedding, before the mean is taken off
    num = len(scorer.cohort_CD_)
    raw = plain.score(items, OF_MODEL, OTHERS, enrol=enrol)
    of_cohort = np.stack([plain.score(cohort, np.full(num, model), np.arange(num), enrol=enrol) for model in range(len(MODELS))])
    expected = (raw - of_cohort.mean(axis=1)[OF_MODEL]) / of_cohort.std(axis=1)[OF_MODEL]
    np.testing.assert_allclose(scorer.score(items, OF_MODEL, OTHERS, enrol=enrol), expected, rtol=1e-6)


@pytest.mark.parametrize("adaptation", ["kaldi", "coral", "coral_plus"])
def test_adaptation_reaches_the_plda(adaptation):
    in_domain = np.random.default_rng(5).normal(size=(60, DIM)) @ np.diag([3.0, 1, 1, 1, 1, 0.5]) + 1.0
    scorer = Scorer(Score(transforms=(), backend="plda", adaptation=adaptation)).fit(TRAIN, SPEAKERS, in_domain=in_domain)
    plda = PLDA(10, "kaldi")
    if adaptation == "coral":
        expected = plda.fit(Coral().fit(TRAIN, in_domain).transform(TRAIN), SPEAKERS)
    else:
        adapt = adapt_kaldi if adaptation == "kaldi" else adapt_coral_plus
        expected = adapt(plda.fit(TRAIN, SPEAKERS), in_domain)
    np.testing.assert_allclose(scorer.score(TEST, ENROL_P, TEST_P), expected.score_matrix(TEST, TEST).ravel(), rtol=1e-9)


def test_plda_of_fewer_embeddings_than_dimensions_says_what_it_added():
    few = np.random.default_rng(1).normal(size=(8, 20))
    scorer = Scorer(Score(transforms=(), backend="plda")).fit(few, np.repeat(np.arange(4), 2))
    assert np.isfinite(scorer.score(few, np.arange(8), np.arange(8))).all()
    assert scorer.notes()
    assert not fitted(transforms=("mean",), backend="plda").notes()
