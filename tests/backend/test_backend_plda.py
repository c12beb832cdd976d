"""PLDA against joint Gaussian densities written out in full, and its scoring against SpeechBrain's."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from steps.backend import bilinear
from steps.backend.estimator import get_state, set_state
from steps.backend.plda import PLDA, em_iteration
from steps.backend.windows import Windows

SPEECHBRAIN_SCORES = """
import numpy as np
from speechbrain.processing.PLDA_LDA import Ndx, StatObject_SB, fast_PLDA_scoring

data = np.load("in.npz")

def statistics(kind):
    ids = np.array([f"{kind}{i}" for i in range(5)], dtype="|O")
    none = np.array([None] * 5)
    return StatObject_SB(modelset=ids, segset=ids, start=none, stop=none, stat0=np.ones((5, 1)), stat1=data[kind])

enrol, test = statistics("enrol"), statistics("test")
trials = Ndx(models=enrol.modelset, testsegs=test.segset)
trials.trialmask[:] = True
np.save("out.npy", fast_PLDA_scoring(enrol, test, trials, data["mean"], data["factor"], data["within"]).scoremat)
"""


def random_model(seed: int = 0, dim: int = 3):
    rng = np.random.default_rng(seed)
    root_b, root_w = rng.normal(size=(2, dim, dim))
    return rng.normal(size=dim), root_b @ root_b.T, root_w @ root_w.T + 0.3 * np.eye(dim)


def sample(mean, between, within, num_speakers: int, per_speaker, seed: int = 1):
    rng = np.random.default_rng(seed)
    counts = np.broadcast_to(per_speaker, num_speakers)
    codes = np.repeat(np.arange(num_speakers), counts)
    speaker = rng.multivariate_normal(mean, between, size=num_speakers)
    return speaker[codes] + rng.multivariate_normal(np.zeros(len(mean)), within, size=codes.size), codes


def joint_log_density(vectors_ND, mean, between, within) -> float:
    """Log-density of one speaker's embeddings: a Gaussian over all of them, blocks B off and B + W on the diagonal."""
    num = len(vectors_ND)
    covariance = np.kron(np.ones((num, num)), between) + np.kron(np.eye(num), within)
    return multivariate_normal.logpdf(vectors_ND.ravel(), np.tile(mean, num), covariance)


def log_likelihood(embeddings, codes, mean, between, within) -> float:
    return sum(joint_log_density(embeddings[codes == s], mean, between, within) for s in np.unique(codes))


@pytest.mark.parametrize("num_enrol", [1, 2, 5])
def test_llr_equals_the_ratio_of_joint_gaussian_densities(num_enrol):
    model = random_model()
    rng = np.random.default_rng(3)
    plda = PLDA.from_covariances(*model, length_norm="none")
    for _ in range(5):
        enrol, test = rng.normal(size=(num_enrol, 3)) * 2, rng.normal(size=(1, 3)) * 2
        together = joint_log_density(np.vstack([enrol, test]), *model)
        apart = joint_log_density(enrol, *model) + joint_log_density(test, *model)
        score = plda.score_pairs(enrol.mean(axis=0, keepdims=True), test, num_enrol)
        assert score[0] == pytest.approx(together - apart, abs=1e-9)


@pytest.mark.parametrize("counts", [1, 3, np.array([1, 2, 3, 1, 7, 2])])
def test_matrix_pairs_and_trials_agree(monkeypatch, counts):
    monkeypatch.setattr(bilinear, "BLOCK_NUMBERS", 21)  # seven trials at a time
    rng = np.random.default_rng(4)
    plda = PLDA.from_covariances(*random_model())
    enrol, test = rng.normal(size=(6, 3)), rng.normal(size=(9, 3))
    matrix = plda.score_matrix(enrol, test, counts)
    rows, columns = np.divmod(np.arange(54), 9)
    pairs = plda.score_pairs(enrol[rows], test[columns], np.broadcast_to(counts, 6)[rows])
    np.testing.assert_allclose(matrix.ravel(), pairs, atol=1e-12)
    np.testing.assert_allclose(plda.score_trials(enrol, test, rows, columns, num_enrol=counts), pairs, atol=1e-12)


@pytest.mark.parametrize("length_norm", ["none", "simple", "kaldi"])
def test_trials_with_many_different_counts_equal_pairs(length_norm):
    rng = np.random.default_rng(15)
    plda = PLDA.from_covariances(*random_model(dim=6), length_norm=length_norm)
    enrol, test, counts = rng.normal(size=(300, 6)) * 3, rng.normal(size=(40, 6)) * 3, rng.permutation(300) + 1
    rows, columns = rng.integers(0, 300, 2000), rng.integers(0, 40, 2000)
    expected = plda.score_pairs(enrol[rows], test[columns], counts[rows])
    np.testing.assert_allclose(plda.score_trials(enrol, test, rows, columns, num_enrol=counts), expected, atol=1e-9)
    np.testing.assert_allclose(plda.score_matrix(enrol, test, counts)[rows, columns], expected, atol=1e-9)


def test_several_embeddings_a_speaker_are_taken_by_the_book_unless_one_is_said():
    rng = np.random.default_rng(16)
    plda = PLDA.from_covariances(*random_model(), length_norm="none")
    items, test = [rng.normal(size=(size, 3)) for size in (1, 4, 2)], rng.normal(size=(5, 3))
    mean = np.array([item.mean(axis=0) for item in items])
    rows, columns = np.divmod(np.arange(15), 5)
    for given, counts in ((None, np.array([1, 4, 2])), (1, 1)):
        expected = plda.score_pairs(mean[rows], test[columns], np.broadcast_to(counts, 3)[rows])
        got = plda.score_trials(Windows.of(items), test, rows, columns, num_enrol=given)
        np.testing.assert_allclose(got, expected, atol=1e-12)
        np.testing.assert_allclose(plda.score_matrix(Windows.of(items), test, given).ravel(), expected, atol=1e-12)


def test_trials_between_rows_of_one_array_equal_trials_between_copies():
    rng = np.random.default_rng(17)
    plda, x = PLDA.from_covariances(*random_model()), rng.normal(size=(9, 3))
    rows, columns = rng.integers(0, 9, (2, 30))
    np.testing.assert_array_equal(plda.score_trials(x, x, rows, columns), plda.score_trials(x, x.copy(), rows, columns))


def test_em_raises_the_marginal_likelihood_at_every_iteration():
    mean, between, within = random_model(5)
    embeddings, codes = sample(mean, between, within, 12, [1, 2, 3, 4] * 3)
    fixed_mean = np.mean([embeddings[codes == s].mean(axis=0) for s in range(12)], axis=0)
    values = []
    for iterations in range(1, 12):
        plda = PLDA(iterations).fit(embeddings, codes)
        np.testing.assert_allclose(plda.mean_D_, fixed_mean)
        values.append(log_likelihood(embeddings, codes, fixed_mean, *plda.covariances()))
    assert (np.diff(values) > 0).all()


def test_one_em_iteration_equals_posteriors_by_matrix_inversion():
    mean, between, within = random_model(6)
    embeddings, codes = sample(mean, between, within, 8, [1, 2, 3, 5] * 2)
    means = np.array([embeddings[codes == s].mean(axis=0) for s in range(8)])
    counts = np.bincount(codes)
    scatter = sum(np.outer(x - means[c], x - means[c]) for x, c in zip(embeddings, codes, strict=True))
    centred = means - means.mean(axis=0)
    expected_b, expected_w = np.zeros((3, 3)), scatter.copy()
    for m, n in zip(centred, counts, strict=True):
        posterior = np.linalg.inv(np.linalg.inv(between) + n * np.linalg.inv(within))
        w = posterior @ (n * np.linalg.inv(within) @ m)
        expected_b += posterior + np.outer(w, w)
        expected_w += n * (posterior + np.outer(m - w, m - w))
    got_b, got_w = em_iteration(between, within, centred, counts, scatter)
    np.testing.assert_allclose(got_b, expected_b / 8, atol=1e-10)
    np.testing.assert_allclose(got_w, expected_w / len(codes), atol=1e-10)


def test_covariances_of_many_speakers_are_recovered():
    mean, between, within = random_model(7, dim=4)
    embeddings, codes = sample(mean, between, within, 4000, 6)
    plda = PLDA(60).fit(embeddings, codes)
    got_between, got_within = plda.covariances()
    # Standard errors: about sqrt(2 / 4000) = 2 per cent between, sqrt(2 / 20000) = 1 per cent within; four of these.
    assert np.linalg.norm(got_between - between) < 0.09 * np.linalg.norm(between)
    assert np.linalg.norm(got_within - within) < 0.04 * np.linalg.norm(within)
    np.testing.assert_allclose(plda.mean_D_, mean, atol=4 * np.sqrt(between.trace() / 4000))


def test_transform_makes_within_the_identity_and_between_diagonal():
    mean, between, within = random_model(8)
    plda = PLDA.from_covariances(mean, between, within)
    a = plda.transform_DD_
    np.testing.assert_allclose(a @ within @ a.T, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(a @ between @ a.T, np.diag(plda.psi_D_), atol=1e-10)
    assert (np.diff(plda.psi_D_) <= 0).all()
    for got, expected in zip(plda.covariances(), (between, within), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-10)


def test_scores_are_symmetric_and_zero_without_between_covariance():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(2, 10, 3))
    for length_norm in ("kaldi", "simple", "none"):
        plda = PLDA.from_covariances(*random_model(), length_norm=length_norm)
        np.testing.assert_allclose(plda.score_pairs(a, b), plda.score_pairs(b, a), atol=1e-12)
        mean, _, within = random_model()
        blind = PLDA.from_covariances(mean, np.zeros((3, 3)), within, length_norm=length_norm)
        np.testing.assert_allclose(blind.score_matrix(a, b), 0, atol=1e-12)


def test_length_norm_gives_the_length_expected_under_the_model():
    embeddings = np.random.default_rng(10).normal(size=(5, 3))
    plda = PLDA.from_covariances(*random_model())
    for count in (1, 4):
        u = plda.transform(embeddings, count)
        np.testing.assert_allclose((u**2 / (plda.psi_D_ + 1 / count)).sum(axis=1), 3)
    plda.length_norm = "simple"
    np.testing.assert_allclose((plda.transform(embeddings) ** 2).sum(axis=1), 3)


def test_smoothing_adds_between_to_within_covariance():
    mean, between, within = random_model(11)
    smoothed = PLDA.from_covariances(mean, between, within).smooth_within(0.4)
    got_between, got_within = smoothed.covariances()
    np.testing.assert_allclose(got_between, between, atol=1e-10)
    np.testing.assert_allclose(got_within, within + 0.4 * between, atol=1e-10)


def test_trained_scores_separate_speakers_and_shuffled_labels_do_not():
    model = random_model(12, dim=5)
    embeddings, codes = sample(*model, 200, 5)
    test, test_codes = sample(*model, 40, 2, seed=99)
    truth = test_codes[::2][:, None] == test_codes[1::2]

    def gap(labels) -> float:
        scores = PLDA().fit(embeddings, labels).score_matrix(test[::2], test[1::2])
        return scores[truth].mean() - scores[~truth].mean()

    assert gap(codes) > 2
    assert gap(np.random.default_rng(0).permutation(codes)) < 0.5


def test_scoring_equals_speechbrain_with_the_same_parameters(tmp_path):
    if find_spec("speechbrain") is None:
        pytest.skip("speechbrain is not installed")
    mean, between, within = random_model(13, dim=4)
    enrol, test = np.random.default_rng(14).normal(size=(2, 5, 4))
    factor = np.linalg.cholesky(between)
    np.savez(tmp_path / "in.npz", enrol=enrol, test=test, mean=mean, factor=factor, within=within)
    # In a process of its own: the lazy modules speechbrain leaves in sys.modules unsettle hypothesis in other tests.
    subprocess.run([sys.executable, "-c", SPEECHBRAIN_SCORES], cwd=tmp_path, check=True, capture_output=True)
    plda = PLDA.from_covariances(mean, between, within, length_norm="none")
    np.testing.assert_allclose(plda.score_matrix(enrol, test), np.load(tmp_path / "out.npy"), atol=1e-9)


def test_state_is_plain_arrays_and_moves_to_another_object():
    embeddings, codes = sample(*random_model(), 10, 3)
    plda = PLDA().fit(embeddings, codes)
    state = get_state(plda)
    assert sorted(state) == ["mean_D_", "psi_D_", "ridge_", "transform_DD_"]
    other = PLDA()
    set_state(other, state)
    np.testing.assert_array_equal(other.score_matrix(embeddings, embeddings), plda.score_matrix(embeddings, embeddings))


def test_fewer_embeddings_than_dimensions_get_a_ridge_that_is_noted():
    rng = np.random.default_rng(18)
    embeddings, codes = rng.normal(size=(12, 20)), np.repeat(np.arange(4), 3)
    plda = PLDA().fit(embeddings, codes)
    assert plda.ridge_ == pytest.approx(0.1 * embeddings.var(axis=0).mean())
    assert plda.note.startswith("PLDA: the training embeddings do not span all dimensions")
    # In a direction that training did not see, within-speaker variance is the ridge and what EM has not yet taken away.
    unseen = np.linalg.svd(embeddings - plda.mean_D_)[2][-1]
    _, within = plda.covariances()
    assert unseen @ within @ unseen >= plda.ridge_
    assert np.isfinite(plda.score_matrix(embeddings, embeddings)).all()
    assert plda.smooth_within(0.1).note == plda.note


def test_a_dimension_that_is_constant_or_copied_gets_a_ridge_too():
    embeddings, codes = sample(*random_model(), 10, 5)
    for extra in (np.ones((50, 1)), embeddings[:, :1]):
        plda = PLDA().fit(np.hstack([embeddings, extra]), codes)
        assert plda.ridge_ > 0
        assert np.isfinite(plda.psi_D_).all()


def test_a_ridge_that_was_asked_for_is_added_and_not_noted():
    embeddings, codes = sample(*random_model(), 10, 5)
    plain, ridged = PLDA(200).fit(embeddings, codes), PLDA(200, ridge=0.5).fit(embeddings, codes)
    assert plain.ridge_ == 0
    assert plain.note == ridged.note == ""
    assert ridged.ridge_ == pytest.approx(0.5 * embeddings.var(axis=0).mean())
    grown = ridged.covariances()[1] - plain.covariances()[1]
    assert np.linalg.eigvalsh(grown)[0] > 0.9 * ridged.ridge_
    with pytest.raises(ValueError, match="ridge: expected 0 or more, found -1"):
        PLDA(ridge=-1).fit(embeddings, codes)


def test_bad_input_is_refused():
    embeddings, codes = sample(*random_model(), 5, 3)
    with pytest.raises(ValueError, match="PLDA: expected a fitted estimator"):
        PLDA().transform(embeddings)
    with pytest.raises(ValueError, match="found 15 speakers for 15 embeddings"):
        PLDA().fit(embeddings, np.arange(15))
    with pytest.raises(ValueError, match="found 1 speakers"):
        PLDA().fit(embeddings, np.zeros(15))
    with pytest.raises(ValueError, match="one for each of 15 embeddings"):
        PLDA().fit(embeddings, codes[:-1])
    with pytest.raises(ValueError, match="num_iterations"):
        PLDA(0).fit(embeddings, codes)
    with pytest.raises(ValueError, match="found 15 equal ones"):
        PLDA().fit(np.ones((15, 3)), codes)
    plda = PLDA().fit(embeddings, codes)
    with pytest.raises(ValueError, match="expected 2 trials"):
        plda.score_trials(embeddings, embeddings, [0, 1], [0])
    with pytest.raises(ValueError, match="test_index: expected 0 to 14, found 15"):
        plda.score_trials(embeddings, embeddings, [0], [15])
    with pytest.raises(ValueError, match="num_enrol"):
        plda.score_pairs(embeddings, embeddings, 0)
    with pytest.raises(ValueError, match="num_enrol"):
        plda.score_matrix(embeddings, embeddings, [1, 2])
    with pytest.raises(ValueError, match="length_norm"):
        PLDA(length_norm="other").fit(embeddings, codes).transform(embeddings)
    with pytest.raises(ValueError, match="positive definite"):
        PLDA.from_covariances(np.zeros(2), np.eye(2), np.zeros((2, 2)))
