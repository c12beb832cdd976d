"""Simplified PLDA against stacked Gaussian densities, EM by matrix inversion, and two-covariance PLDA at full rank."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from steps.backend.estimator import get_state, set_state
from steps.backend.plda import PLDA
from steps.backend.simplified_plda import FactorModel, SimplifiedPLDA, leading_factors, maximise, posteriors


def sample(num_speakers, counts, *, dim=4, rank=2, seed=0):
    """Embeddings, speakers and the model they were drawn from: mean, F, W."""
    rng = np.random.default_rng(seed)
    loading, root, mean = rng.normal(size=(dim, rank)) * 1.5, rng.normal(size=(dim, dim)), rng.normal(size=dim)
    within = root @ root.T / dim + 0.3 * np.eye(dim)
    codes = np.repeat(np.arange(num_speakers), np.broadcast_to(counts, num_speakers))
    noise = rng.multivariate_normal(np.zeros(dim), within, size=codes.size)
    return mean + (rng.normal(size=(num_speakers, rank)) @ loading.T)[codes] + noise, codes, (mean, loading, within)


def joint_log_density(vectors, mean, between, within):
    num = len(vectors)
    covariance = np.kron(np.ones((num, num)), between) + np.kron(np.eye(num), within)
    return multivariate_normal.logpdf(vectors.ravel(), np.tile(mean, num), covariance)


def log_likelihood(embeddings, codes, plda):
    between, within = plda.covariances()
    return sum(joint_log_density(embeddings[codes == s], plda.mean_D_, between, within) for s in np.unique(codes))


def test_log_likelihood_is_that_of_stacked_gaussians_and_rises():
    embeddings, codes, _ = sample(12, [1, 2, 3, 4] * 3)
    for iterations in (1, 4):
        plda = SimplifiedPLDA(2, iterations).fit(embeddings, codes)
        assert plda.log_likelihood_I_.shape == (iterations + 1,)
        assert plda.log_likelihood_I_[-1] == pytest.approx(log_likelihood(embeddings, codes, plda), abs=1e-8)
    values = SimplifiedPLDA(2, 40).fit(embeddings, codes).log_likelihood_I_
    assert (np.diff(values) > 0).all()


def test_one_iteration_equals_posteriors_by_matrix_inversion():
    embeddings, codes, (mean, loading, within) = sample(8, [1, 2, 3, 5] * 2, seed=1)
    x, precision = embeddings - mean, np.linalg.inv(within)
    counts = np.bincount(codes).astype(float)
    sums = np.array([x[codes == s].sum(axis=0) for s in range(8)])
    cross, moment, prior = np.zeros((4, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    for total, n in zip(sums, counts, strict=True):
        covariance = np.linalg.inv(np.eye(2) + n * loading.T @ precision @ loading)
        y = covariance @ loading.T @ precision @ total
        cross += np.outer(total, y)
        moment += n * (covariance + np.outer(y, y))
        prior += (covariance + np.outer(y, y)) / 8
    new_loading = cross @ np.linalg.inv(moment)
    new_within = (x.T @ x - new_loading @ cross.T) / len(x)
    got = maximise(posteriors(FactorModel(loading, within), sums, counts), sums, x.T @ x)
    np.testing.assert_allclose(got.within_DD, new_within, atol=1e-10)
    np.testing.assert_allclose(got.loading_DR @ got.loading_DR.T, new_loading @ prior @ new_loading.T, atol=1e-10)


def test_full_rank_is_two_covariance_plda_and_the_closed_form_of_balanced_data():
    embeddings, codes, _ = sample(60, 20, dim=3, rank=3, seed=2)
    means = np.array([embeddings[codes == s].mean(axis=0) for s in range(60)])
    offsets = embeddings - means[codes]
    within = offsets.T @ offsets / (60 * 19)
    between = np.cov(means.T, bias=True) - within / 20
    full, two = SimplifiedPLDA(3, 300).fit(embeddings, codes), PLDA(300).fit(embeddings, codes)
    for plda in (full, two):
        for got, expected in zip(plda.covariances(), (between, within), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(
        full.score_matrix(embeddings[:9], embeddings), two.score_matrix(embeddings[:9], embeddings), atol=1e-4
    )


def test_between_covariance_has_the_chosen_rank_and_parameters_are_recovered():
    embeddings, codes, (mean, loading, within) = sample(3000, 6, dim=5, rank=2, seed=3)
    plda = SimplifiedPLDA(2, 20).fit(embeddings, codes)
    got_between, got_within = plda.covariances()
    assert np.linalg.matrix_rank(got_between, tol=1e-8) == 2
    assert (plda.psi_D_[2:] == 0).all()
    # Standard errors of about sqrt(2 / 3000) = 2.6 per cent between, sqrt(2 / 15000) = 1.2 per cent within; four of these.
    between = loading @ loading.T
    assert np.linalg.norm(got_between - between) < 0.1 * np.linalg.norm(between)
    assert np.linalg.norm(got_within - within) < 0.05 * np.linalg.norm(within)
    np.testing.assert_allclose(plda.mean_D_, mean, atol=4 * np.sqrt(between.trace() / 3000))


@pytest.mark.parametrize("num_enrol", [1, 3])
def test_low_rank_llr_equals_the_ratio_of_joint_gaussian_densities(num_enrol):
    mean, loading, within = sample(2, 2, seed=4)[2]
    plda = PLDA.from_covariances(mean, loading @ loading.T, within, length_norm="none")
    rng = np.random.default_rng(5)
    enrol, test = rng.normal(size=(num_enrol, 4)), rng.normal(size=(1, 4))
    model = (mean, loading @ loading.T, within)
    expected = joint_log_density(np.vstack([enrol, test]), *model)
    expected -= joint_log_density(enrol, *model) + joint_log_density(test, *model)
    average = enrol.mean(axis=0, keepdims=True)
    for got in (
        plda.score_pairs(average, test, num_enrol),
        plda.score_trials(average, test, [0], [0], num_enrol=num_enrol),
        plda.score_matrix(average, test, num_enrol)[0],
    ):
        assert got[0] == pytest.approx(expected, abs=1e-9)


def test_first_model_is_the_best_approximation_of_its_rank():
    within, between = np.diag([1.0, 4.0, 1.0]), np.diag([2.0, 6.0, 1.0])  # ratios 2, 1.5 and 1
    model = leading_factors(between, within, 2)
    np.testing.assert_allclose(model.loading_DR @ model.loading_DR.T, np.diag([2.0, 6.0, 0.0]), atol=1e-12)


def test_more_rank_than_speakers_adds_nothing():
    embeddings, codes, _ = sample(3, 10, dim=5, seed=6)
    plda = SimplifiedPLDA(4, 30).fit(embeddings, codes)
    assert (plda.psi_D_[2:] < 1e-6 * plda.psi_D_[0]).all()


def test_fewer_embeddings_than_dimensions_get_a_ridge_that_is_noted():
    embeddings, codes, _ = sample(6, 2, dim=20, seed=7)
    plda = SimplifiedPLDA(3).fit(embeddings, codes)
    assert plda.ridge_ == pytest.approx(0.1 * embeddings.var(axis=0).mean())
    assert "0.1 of the mean variance" in plda.note
    assert (np.diff(plda.log_likelihood_I_) > 0).all()
    assert np.isfinite(plda.score_matrix(embeddings, embeddings)).all()
    asked = SimplifiedPLDA(3, ridge=0.5).fit(embeddings, codes)
    assert asked.note == ""
    assert asked.ridge_ == pytest.approx(0.5 * embeddings.var(axis=0).mean())


def test_state_is_plain_arrays_and_moves_to_another_object():
    embeddings, codes, _ = sample(10, 3)
    plda = SimplifiedPLDA(2).fit(embeddings, codes)
    other = SimplifiedPLDA(2)
    set_state(other, get_state(plda))
    np.testing.assert_array_equal(other.score_matrix(embeddings, embeddings), plda.score_matrix(embeddings, embeddings))


@pytest.mark.parametrize("rank", [0, 5])
def test_rank_outside_the_dimensions_is_refused(rank):
    embeddings, codes, _ = sample(5, 3)
    with pytest.raises(ValueError, match=f"rank: expected 1 to 4, for 4 dimensions, found {rank}"):
        SimplifiedPLDA(rank).fit(embeddings, codes)


def test_too_few_iterations_or_speakers_are_refused():
    embeddings, codes, _ = sample(5, 3)
    with pytest.raises(ValueError, match="num_iterations"):
        SimplifiedPLDA(2, 0).fit(embeddings, codes)
    with pytest.raises(ValueError, match="found 1 speakers"):
        SimplifiedPLDA(2).fit(embeddings, np.zeros(15))
    with pytest.raises(ValueError, match="call fit first"):
        SimplifiedPLDA(2).score_matrix(embeddings, embeddings)
