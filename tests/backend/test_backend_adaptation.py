"""Adaptation without labels, against closed forms in two dimensions and the definitions in plain loops."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from steps.backend.adaptation import Coral, adapt_coral, adapt_coral_plus, adapt_kaldi
from steps.backend.estimator import get_state, set_state
from steps.backend.plda import PLDA


def embeddings_with(mean, covariance, size=40, seed=0):
    """Embeddings whose mean and covariance are exactly these."""
    raw = np.random.default_rng(seed).normal(size=(size, len(mean)))
    raw -= raw.mean(axis=0)
    raw = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / size)).T
    return raw @ np.linalg.cholesky(covariance).T + mean


def random_model(dim=4, seed=1, rank=None):
    rng = np.random.default_rng(seed)
    factor, root, target = rng.normal(size=(dim, rank or dim)), rng.normal(size=(dim, dim)), rng.normal(size=(dim, dim))
    within = root @ root.T / dim + 0.2 * np.eye(dim)
    return rng.normal(size=dim), factor @ factor.T, within, target @ target.T + 0.1 * np.eye(dim)


def test_kaldi_shares_out_the_excess_in_two_dimensions():
    # Model: total 4 and 2. In-domain: 7 and 1, mean moved by 2 along the second, which makes that 1 + 4 = 5. Excess 3 and 3.
    plda = PLDA.from_covariances([0.0, 0.0], np.diag([3.0, 0.5]), np.diag([1.0, 1.5]), length_norm="simple")
    adapted = adapt_kaldi(plda, embeddings_with([0.0, 2.0], np.diag([7.0, 1.0])))
    between, within = adapted.covariances()
    np.testing.assert_allclose(within, np.diag([1.0 + 0.75 * 3, 1.5 + 0.75 * 3]), atol=1e-9)
    np.testing.assert_allclose(between, np.diag([3.0 + 0.25 * 3, 0.5 + 0.25 * 3]), atol=1e-9)
    np.testing.assert_allclose(adapted.mean_D_, [0.0, 2.0], atol=1e-12)
    assert adapted.length_norm == "simple"
    still = adapt_kaldi(plda, embeddings_with([0.0, 2.0], np.diag([7.0, 1.0])), mean_diff_scale=0.0)
    np.testing.assert_allclose(still.covariances()[1], np.diag([3.25, 1.5]), atol=1e-9)  # 1 is less than 2: left alone


def test_kaldi_equals_the_steps_of_its_program():
    mean, between, within, target = random_model()
    x = embeddings_with(mean + 0.7, target)
    plda = PLDA.from_covariances(mean, between, within)
    adapted = adapt_kaldi(plda, x, within_share=0.6, between_share=0.3, mean_diff_scale=0.5)
    covariance = np.cov(x.T, bias=True) + 0.5 * np.outer(x.mean(axis=0) - mean, x.mean(axis=0) - mean)
    transform = plda.transform_DD_ / np.sqrt(1 + plda.psi_D_)[:, None]
    values, p = np.linalg.eigh(transform @ covariance @ transform.T)
    w2 = p.T @ np.diag(1 / (1 + plda.psi_D_)) @ p
    b2 = p.T @ np.diag(plda.psi_D_ / (1 + plda.psi_D_)) @ p
    for i, value in enumerate(values):
        if value > 1:
            w2[i, i] += 0.6 * (value - 1)
            b2[i, i] += 0.3 * (value - 1)
    back = np.linalg.inv(p.T @ transform)
    assert (values > 1).any()
    assert (values < 1).any()
    for got, expected in zip(adapted.covariances(), (back @ b2 @ back.T, back @ w2 @ back.T), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_kaldi_adapted_to_what_it_explains_changes_nothing():
    mean, between, within, _ = random_model()
    plda = PLDA.from_covariances(mean, between, within)
    adapted = adapt_kaldi(plda, embeddings_with(mean, between + within))
    for got, expected in zip(adapted.covariances(), (between, within), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-9)
    shares = adapt_kaldi(plda, embeddings_with(mean, 3 * (between + within)), within_share=0.75, between_share=0.25)
    np.testing.assert_allclose(sum(shares.covariances()), 3 * (between + within), atol=1e-9)


def test_coral_gives_training_embeddings_the_moments_of_the_domain():
    mean, between, within, target = random_model()
    x, y = embeddings_with(mean, between + within), embeddings_with(mean - 1, target, size=30, seed=2)
    coral = Coral(ridge=0.0).fit(x, y)
    mapped = coral.transform(x)
    np.testing.assert_allclose(mapped.mean(axis=0), mean - 1, atol=1e-10)
    np.testing.assert_allclose(np.cov(mapped.T, bias=True), target, atol=1e-9)
    np.testing.assert_allclose(coral.matrix_DD_, np.linalg.inv(sqrtm(between + within)) @ sqrtm(target), atol=1e-8)


def test_coral_scales_dimensions_by_the_ratio_of_ridged_deviations():
    x, y = embeddings_with([1.0, 1.0], np.diag([4.0, 1.0])), embeddings_with([0.0, 0.0], np.diag([9.0, 1.0]), seed=3)
    coral = Coral(ridge=0.2).fit(x, y)  # 0.2 of mean variances 2.5 and 5
    np.testing.assert_allclose(coral.matrix_DD_, np.diag(np.sqrt([10.0 / 4.5, 2.0 / 1.5])), atol=1e-10)
    np.testing.assert_allclose(coral.transform([[3.0, 1.0]]), [[2 * np.sqrt(10.0 / 4.5), 0.0]], atol=1e-10)


def test_coral_of_the_model_is_what_training_on_mapped_embeddings_gives():
    # Whatever the training set was, PLDA follows a linear map of it: so both ways lead to the same covariances.
    mean, between, within, target = random_model()
    plda = PLDA.from_covariances(mean, between, within)
    y = embeddings_with(mean + 2, target)
    adapted = adapt_coral(plda, y, ridge=0.05)
    matrix = Coral(0.05).fit(embeddings_with(mean, between + within), y).matrix_DD_
    for got, expected in zip(adapted.covariances(), (between, within), strict=True):
        np.testing.assert_allclose(got, matrix.T @ expected @ matrix, atol=1e-9)
    np.testing.assert_allclose(adapted.mean_D_, mean + 2, atol=1e-10)


def test_coral_plus_raises_only_the_directions_with_more_variance():
    # Total 4 and 2; in-domain 8 and 1: CORAL doubles the first dimension of both covariances and halves the second.
    plda = PLDA.from_covariances([0.0, 0.0], np.diag([3.0, 0.5]), np.diag([1.0, 1.5]))
    adapted = adapt_coral_plus(plda, embeddings_with([1.0, 1.0], np.diag([8.0, 1.0])), within_weight=0.8, between_weight=0.2)
    between, within = adapted.covariances()
    np.testing.assert_allclose(within, np.diag([1.0 + 0.8 * 1.0, 1.5]), atol=1e-8)
    np.testing.assert_allclose(between, np.diag([3.0 + 0.2 * 3.0, 0.5]), atol=1e-8)
    np.testing.assert_allclose(adapted.mean_D_, [1.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("rank", [None, 2])
def test_coral_plus_equals_its_definition_and_never_shrinks_a_covariance(rank):
    mean, between, within, target = random_model(dim=4, rank=rank, seed=5)
    plda = PLDA.from_covariances(mean, between, within)
    adapted = adapt_coral_plus(plda, embeddings_with(mean, target), within_weight=0.7, between_weight=0.4)
    align = np.linalg.inv(sqrtm(between + within)) @ sqrtm(target)
    for got, old, weight in zip(adapted.covariances(), (between, within), (0.4, 0.7), strict=True):
        assert np.linalg.eigvalsh(got - old)[0] > -1e-8
        if np.linalg.matrix_rank(old) == 4:
            # Old = L L'; eigenvalues of L^-1 new L'^-1 above 1 are the excess.
            lower = np.linalg.cholesky(old)
            values, vectors = np.linalg.eigh(np.linalg.solve(lower, np.linalg.solve(lower, align.T @ old @ align).T))
            basis = lower @ vectors
            np.testing.assert_allclose(got - old, weight * (basis * np.maximum(values - 1, 0)) @ basis.T, atol=1e-7)


def miss_rate(plda, test, codes):
    scores = plda.score_matrix(test[::2], test[1::2])
    same = codes[::2][:, None] == codes[1::2]
    return (scores[same] < np.quantile(scores[~same], 0.95)).mean()


def test_adaptation_helps_where_the_domain_has_other_session_effects():
    rng = np.random.default_rng(6)
    between, within = 10 * np.eye(8), np.eye(8)
    there = np.diag([60.0] * 2 + [1.0] * 6)  # within speakers, of the domain

    def draw(num_speakers, per_speaker):
        codes = np.repeat(np.arange(num_speakers), per_speaker)
        speaker = rng.multivariate_normal(np.zeros(8), between, size=num_speakers)[codes]
        return 3.0 + speaker + rng.multivariate_normal(np.zeros(8), there, size=codes.size), codes

    unlabelled, _ = draw(600, 1)
    test, codes = draw(300, 2)
    plda = PLDA.from_covariances(np.zeros(8), between, within, length_norm="none")
    oracle = miss_rate(PLDA.from_covariances(np.full(8, 3.0), between, there, length_norm="none"), test, codes)
    mean_only = miss_rate(adapt_kaldi(plda, unlabelled, within_share=0, between_share=0), test, codes)
    for adapt, share in ((adapt_kaldi, 0.1), (adapt_coral, 0.6), (adapt_coral_plus, 0.6)):
        assert oracle <= miss_rate(adapt(plda, unlabelled), test, codes) < share * mean_only


@pytest.mark.parametrize("adapt", [adapt_kaldi, adapt_coral_plus, lambda plda, x: adapt_coral(plda, x, ridge=0.01)])
def test_fewer_embeddings_than_dimensions_are_enough(adapt):
    mean, between, within, _ = random_model(dim=12)
    few = np.random.default_rng(7).normal(size=(3, 12)) * 4
    adapted = adapt(PLDA.from_covariances(mean, between, within), few)
    assert np.isfinite(adapted.score_matrix(few, few)).all()
    np.testing.assert_allclose(adapted.mean_D_, few.mean(axis=0))
    assert adapt(PLDA.from_covariances(mean, between, within, length_norm="none"), few).length_norm == "none"
    assert Coral().fit(few, few + 1).transform(few).shape == (3, 12)


def test_state_of_coral_moves_to_another_object():
    x = np.random.default_rng(8).normal(size=(9, 3))
    coral, other = Coral().fit(x, 2 * x + 1), Coral()
    set_state(other, get_state(coral))
    np.testing.assert_array_equal(other.transform(x), coral.transform(x))


def test_bad_input_is_refused():
    mean, between, within, target = random_model()
    plda, x = PLDA.from_covariances(mean, between, within), embeddings_with(mean, target)
    with pytest.raises(ValueError, match="call fit first"):
        adapt_kaldi(PLDA(), x)
    with pytest.raises(ValueError, match="call fit first"):
        Coral().transform(x)
    for adapt in (adapt_kaldi, adapt_coral, adapt_coral_plus):
        with pytest.raises(ValueError, match="in-domain embeddings: expected 4 dimensions as in training, found 3"):
            adapt(plda, x[:, :3])
        with pytest.raises(ValueError, match="in-domain embeddings: expected two or more that differ, found 1"):
            adapt(plda, x[:1])
        with pytest.raises(ValueError, match="finite"):
            adapt(plda, np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="within_share: expected 0 or more, found -1"):
        adapt_kaldi(plda, x, within_share=-1)
    with pytest.raises(ValueError, match="between_weight: expected 0 to 1, found 2"):
        adapt_coral_plus(plda, x, between_weight=2)
    with pytest.raises(ValueError, match="set a ridge above 0"):
        adapt_coral(plda, x[:3], ridge=0)
    with pytest.raises(ValueError, match="out-of-domain embeddings: expected a covariance that can be inverted"):
        Coral(0.0).fit(x[:3], x)
    with pytest.raises(ValueError, match="ridge: expected 0 or more"):
        Coral(-0.1).fit(x, x)
