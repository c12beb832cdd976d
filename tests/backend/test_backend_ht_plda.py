"""Heavy-tailed PLDA against its formulas in plain loops, integrals over the speaker, and stacked Gaussian densities."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, multivariate_t

from steps.backend import ht_plda
from steps.backend.estimator import get_state, set_state
from steps.backend.ht_plda import HTPLDA, log_expectations
from steps.backend.plda import PLDA
from steps.backend.simplified_plda import SimplifiedPLDA
from steps.backend.windows import Windows

INF = float("inf")


def parameters(dim=5, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dim, dim))
    return rng.normal(size=dim), rng.normal(size=(dim, rank)) * 1.5, root @ root.T / dim + 0.3 * np.eye(dim)


def sample(num_speakers, per_speaker, nu, model, seed=1):
    """Embeddings drawn from the model: each has a precision of its own, gamma(nu/2, nu/2)."""
    mean, loading, within = model
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(num_speakers), per_speaker)
    speaker = rng.normal(size=(num_speakers, loading.shape[1])) @ loading.T
    noise = rng.multivariate_normal(np.zeros(mean.size), within, size=codes.size)
    if np.isfinite(nu):
        noise /= np.sqrt(rng.gamma(nu / 2, 2 / nu, size=codes.size))[:, None]
    return mean + speaker[codes] + noise, codes


def plain_meta_embedding(vectors, model, nu):
    """a and b of several embeddings, and B0: the definitions, one embedding after the other."""
    mean, loading, within = model
    precision = np.linalg.inv(within)
    projection = loading.T @ precision
    b0 = projection @ loading
    g = precision - projection.T @ np.linalg.inv(b0) @ projection
    dim, rank = loading.shape
    a, b = np.zeros(rank), 0.0
    for vector in vectors:
        r = vector - mean
        scale = 1.0 if np.isinf(nu) else (nu + dim - rank) / (nu + r @ g @ r)
        a, b = a + scale * projection @ r, b + scale
    return a, b, b0


def plain_log_expectation(a, b, b0):
    matrix = np.eye(len(b0)) + b * b0
    return 0.5 * (a @ np.linalg.solve(matrix, a) - np.linalg.slogdet(matrix)[1])


def plain_llr(enrol, test, model, nu):
    (a1, b1, b0), (a2, b2, _) = (plain_meta_embedding(vectors, model, nu) for vectors in (enrol, test))
    together = plain_log_expectation(a1 + a2, b1 + b2, b0)
    return together - plain_log_expectation(a1, b1, b0) - plain_log_expectation(a2, b2, b0)


@pytest.mark.parametrize("nu", [0.5, 2.0, 30.0, INF])
@pytest.mark.parametrize("rank", [1, 3, 11])
def test_trials_and_matrix_equal_the_formula_in_plain_loops(monkeypatch, nu, rank):
    monkeypatch.setattr(ht_plda, "BLOCK_NUMBERS", 7 * rank)  # seven trials at a time
    monkeypatch.setattr(ht_plda, "MATRIX_ROWS", 4)
    rng = np.random.default_rng(2)
    model = parameters(dim=12, rank=rank)
    items = [rng.normal(size=(size, 12)) * rng.uniform(0.3, 6) for size in (1, 3, 2, 1, 1, 5)]
    tests = [rng.normal(size=(size, 12)) * rng.uniform(0.3, 6) for size in (1, 1, 2, 1, 1, 1, 1, 1, 4)]
    expected = np.array([[plain_llr(enrol, test, model, nu) for test in tests] for enrol in items])
    plda = HTPLDA.from_parameters(*model, nu=nu)
    enrol, test = Windows.of(items), Windows.of(tests)
    rows, columns = np.divmod(np.random.default_rng(3).permutation(54), 9)
    np.testing.assert_allclose(plda.score_matrix(enrol, test), expected, atol=1e-9)
    np.testing.assert_allclose(plda.score_trials(enrol, test, rows, columns), expected[rows, columns], atol=1e-9)
    singles = np.array([item[0] for item in tests])
    one = np.array([[plain_llr(enrol, row[None], model, nu) for row in singles] for enrol in items])
    np.testing.assert_allclose(plda.score_trials(enrol, singles, rows, columns), one[rows, columns], atol=1e-9)
    np.testing.assert_allclose(plda.score_matrix(enrol, singles), one, atol=1e-9)


def test_log_expectation_is_the_integral_over_the_speaker():
    precision = np.array([0.7])
    for a, b in ((0.3, 1.2), (-4.0, 0.1), (6.0, 5.0)):
        value = quad(lambda z, a=a, b=b: np.exp(a * z - 0.5 * (b * 0.7 + 1) * z**2) / np.sqrt(2 * np.pi), -np.inf, np.inf)[0]
        assert log_expectations(np.array([[a]]), np.array([b]), precision)[0] == pytest.approx(np.log(value), abs=1e-8)
    grid = np.linspace(-9, 9, 600)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    a, b, precision = np.array([1.0, -2.0]), 1.7, np.array([2.0, 0.4])
    density = np.exp(a[0] * x + a[1] * y - 0.5 * b * (precision[0] * x**2 + precision[1] * y**2) - 0.5 * (x**2 + y**2))
    value = density.sum() * (grid[1] - grid[0]) ** 2 / (2 * np.pi)
    assert log_expectations(a[None], np.array([b]), precision)[0] == pytest.approx(np.log(value), abs=1e-8)


def log_marginal(vectors, model, nu):
    """Log-density of one speaker's embeddings under the t-model, integrated over a speaker of one dimension."""
    mean, loading, within = model
    z = np.linspace(-6, 6, 401)  # the trapezoid rule is exact to many digits for so smooth a bump
    total = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    for vector in vectors:
        total += multivariate_t.logpdf(vector - mean - z[:, None] * loading[:, 0], shape=within, df=nu)
    return total.max() + np.log(np.exp(total - total.max()).sum() * (z[1] - z[0]))


def test_fast_form_comes_near_the_t_model_as_dimensions_grow():
    worst = {}
    for dim in (10, 160):
        rng = np.random.default_rng(4)
        model = np.zeros(dim), rng.normal(size=(dim, 1)) * 3 / np.sqrt(dim), np.diag(rng.uniform(0.5, 2, dim))
        items, _ = sample(4, 1, 2.0, model)
        plda = HTPLDA.from_parameters(*model, nu=2.0)
        scores = plda.score_matrix(items, items)
        exact = [
            [log_marginal([x, y], model, 2.0) - log_marginal([x], model, 2.0) - log_marginal([y], model, 2.0) for y in items]
            for x in items
        ]
        assert np.ptp(exact) > 1.0
        worst[dim] = np.abs(scores - exact).max() / np.ptp(exact)
    # The error falls as 1 / (nu + D - 1): 16 times the dimensions, with some room for the draw.
    assert worst[160] < 0.04
    assert worst[160] < worst[10] / 8


@pytest.mark.parametrize(("num_enrol", "num_test"), [(1, 1), (3, 1), (2, 2)])
def test_infinite_nu_is_the_ratio_of_joint_gaussian_densities(num_enrol, num_test):
    mean, loading, within = model = parameters()

    def density(vectors):
        num = len(vectors)
        covariance = np.kron(np.ones((num, num)), loading @ loading.T) + np.kron(np.eye(num), within)
        return multivariate_normal.logpdf(vectors.ravel(), np.tile(mean, num), covariance)

    rng = np.random.default_rng(5)
    enrol, test = rng.normal(size=(num_enrol, 5)), rng.normal(size=(num_test, 5))
    expected = density(np.vstack([enrol, test])) - density(enrol) - density(test)
    plda = HTPLDA.from_parameters(*model, nu=INF)
    assert plda.score_matrix(Windows.of([enrol]), Windows.of([test]))[0, 0] == pytest.approx(expected, abs=1e-9)
    if num_test == 1:
        gaussian = PLDA.from_covariances(mean, loading @ loading.T, within, length_norm="none")
        assert gaussian.score_matrix(Windows.of([enrol]), test)[0, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("nu", [2.0, INF])
def test_one_iteration_equals_the_update_in_plain_loops(nu):
    embeddings, codes = sample(9, 4, 3.0, parameters())
    plda = HTPLDA(rank=2, nu=nu, num_iterations=1, seed=3).fit(embeddings, codes)
    mean = np.mean([embeddings[codes == s].mean(axis=0) for s in range(9)], axis=0)
    np.testing.assert_allclose(plda.mean_D_, mean)
    start = (mean, np.random.default_rng(3).normal(size=(5, 2)), np.eye(5))
    second, total = np.zeros((5, 5)), 0.0
    for vector in embeddings:
        b = plain_meta_embedding([vector], start, nu)[1]
        second, total = second + b * np.outer(vector - mean, vector - mean), total + b
    t, moment, prior = np.zeros((2, 5)), np.zeros((2, 2)), np.zeros((2, 2))
    for s in range(9):
        a, n, b0 = plain_meta_embedding(embeddings[codes == s], start, nu)
        covariance = np.linalg.inv(np.eye(2) + n * b0)
        z = covariance @ a
        f = sum(plain_meta_embedding([x], start, nu)[1] * (x - mean) for x in embeddings[codes == s])
        t, moment, prior = t + np.outer(z, f), moment + n * (np.outer(z, z) + covariance), prior + np.outer(z, z) + covariance
    loading = t.T @ np.linalg.inv(moment)
    within = (second - (loading @ t + (loading @ t).T) / 2) / total
    loading = loading @ np.linalg.cholesky(prior / 9)
    np.testing.assert_allclose(plda.within_DD_, within, atol=1e-10)
    np.testing.assert_allclose(plda.loading_DR_ @ plda.loading_DR_.T, loading @ loading.T, atol=1e-10)


def test_infinite_nu_is_trained_as_simplified_plda_and_its_bound_is_the_likelihood():
    embeddings, codes = sample(20, 3, INF, parameters())
    gaussian = HTPLDA(2, INF, 6, init="moments").fit(embeddings, codes)
    simplified = SimplifiedPLDA(2, 6).fit(embeddings, codes)
    between, within = simplified.covariances()
    np.testing.assert_allclose(gaussian.loading_DR_ @ gaussian.loading_DR_.T, between, atol=1e-9)
    np.testing.assert_allclose(gaussian.within_DD_, within, atol=1e-9)
    np.testing.assert_allclose(gaussian.lower_bound_I_, simplified.log_likelihood_I_[:-1], atol=1e-8)
    assert (np.diff(HTPLDA(2, INF, 40).fit(embeddings, codes).lower_bound_I_) > -1e-9).all()


def test_lower_bound_lies_below_the_likelihood_of_the_t_model():
    model = parameters(dim=8, rank=1)
    embeddings, codes = sample(15, 3, 4.0, model)
    plda = HTPLDA(1, 4.0, 15).fit(embeddings, codes)
    before = HTPLDA(1, 4.0, 14).fit(embeddings, codes)  # the bound is of the model that an iteration starts from
    fitted = before.mean_D_, before.loading_DR_, before.within_DD_
    exact = sum(log_marginal(embeddings[codes == s], fitted, 4.0) for s in range(15))
    assert plda.lower_bound_I_[-1] < exact
    assert plda.lower_bound_I_[-1] == pytest.approx(exact, abs=0.05 * len(embeddings))
    assert plda.lower_bound_I_[-1] > plda.lower_bound_I_[0]


def test_parameters_of_heavy_tailed_data_are_recovered():
    mean, loading, within = model = parameters(dim=25, rank=2, seed=6)
    embeddings, codes = sample(1500, 5, 4.0, model)
    plda = HTPLDA(2, 4.0, 15, init="moments").fit(embeddings, codes)
    between = loading @ loading.T
    # Standard error between about sqrt(2 / 1500) = 3.7 per cent; precisions are estimated from 27 degrees of freedom.
    assert np.linalg.norm(plda.loading_DR_ @ plda.loading_DR_.T - between) < 0.15 * np.linalg.norm(between)
    assert np.linalg.norm(plda.within_DD_ - within) < 0.15 * np.linalg.norm(within)
    np.testing.assert_allclose(plda.mean_D_, mean, atol=5 * np.sqrt((between + 2 * within).diagonal().max() / 1500))


def test_heavy_tails_beat_gaussian_ones_where_the_data_have_them():
    model = parameters(dim=20, rank=2, seed=7)
    train, train_codes = sample(150, 5, 1.2, model, seed=8)
    test, codes = sample(200, 2, 1.2, model, seed=9)
    same = codes[:, None] == codes
    pairs = np.triu_indices(len(codes), 1)

    def miss_at_ten_per_cent(nu):
        scores = HTPLDA(2, nu, 15, init="moments").fit(train, train_codes).score_matrix(test, test)[pairs]
        return (scores[same[pairs]] < np.quantile(scores[~same[pairs]], 0.9)).mean()

    assert miss_at_ten_per_cent(1.2) < 0.7 * miss_at_ten_per_cent(INF)


def test_scores_are_symmetric_and_zero_for_a_speaker_without_effect():
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(2, 7, 5))
    mean, loading, within = parameters()
    for nu in (2.0, INF):
        plda = HTPLDA.from_parameters(mean, loading, within, nu=nu)
        np.testing.assert_allclose(plda.score_matrix(x, y), plda.score_matrix(y, x).T, atol=1e-10)
        blind = HTPLDA.from_parameters(mean, loading * 0, within, nu=nu)
        np.testing.assert_allclose(blind.score_matrix(x, y), 0, atol=1e-12)
        index = np.arange(7)
        np.testing.assert_allclose(plda.score_trials(x, x, index, index), np.diag(plda.score_matrix(x, x)), atol=1e-10)


def test_an_outlier_says_little():
    plda = HTPLDA.from_parameters(*parameters(dim=30), nu=2.0)
    point = np.random.default_rng(11).normal(size=(1, 30))
    _, near = plda.meta_embeddings(point)
    _, far = plda.meta_embeddings(point * 20)
    assert far[0] < near[0] / 50


def test_fewer_embeddings_than_dimensions_get_a_ridge_that_is_noted():
    embeddings, codes = sample(6, 2, 3.0, parameters(dim=20))
    for nu in (2.0, INF):
        plda = HTPLDA(3, nu, 8).fit(embeddings, codes)
        assert plda.ridge_ == pytest.approx(0.1 * embeddings.var(axis=0).mean())
        assert "0.1 of the mean variance" in plda.note
        assert np.isfinite(plda.score_matrix(embeddings, embeddings)).all()


def test_state_is_plain_arrays_and_moves_to_another_object():
    embeddings, codes = sample(10, 3, 3.0, parameters())
    plda = HTPLDA(2, 2.0, 3).fit(embeddings, codes)
    assert plda.note == ""
    other = HTPLDA(2, 2.0)
    set_state(other, get_state(plda))
    np.testing.assert_array_equal(other.score_matrix(embeddings, embeddings), plda.score_matrix(embeddings, embeddings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 5}, "rank: expected 1 to 4, for 5 dimensions, found 5"),
        ({"rank": 6, "nu": INF}, "rank: expected 1 to 5"),
        ({"rank": 0}, "rank: expected 1"),
        ({"nu": 0.0}, "nu: expected more than 0"),
        ({"nu": float("nan")}, "nu: expected more than 0"),
        ({"num_iterations": 0}, "num_iterations: expected at least 1"),
        ({"init": "other"}, "init: expected 'random' or 'moments'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    embeddings, codes = sample(6, 3, 3.0, parameters())
    with pytest.raises(ValueError, match=message):
        HTPLDA(**{"rank": 2, **settings}).fit(embeddings, codes)


def test_bad_input_is_refused():
    embeddings, codes = sample(6, 3, 3.0, parameters())
    with pytest.raises(ValueError, match="call fit first"):
        HTPLDA(2).score_matrix(embeddings, embeddings)
    with pytest.raises(ValueError, match="found 1 speakers"):
        HTPLDA(2).fit(embeddings, np.zeros(18))
    with pytest.raises(ValueError, match="parameters: expected mean"):
        HTPLDA.from_parameters(np.zeros(3), np.zeros((4, 2)), np.eye(3), nu=2.0)
    plda = HTPLDA(2, num_iterations=1).fit(embeddings, codes)
    with pytest.raises(ValueError, match="expected 5 dimensions"):
        plda.score_matrix(np.ones((2, 4)), embeddings)
    with pytest.raises(ValueError, match="enrol_index: expected 0 to 17, found 18"):
        plda.score_trials(embeddings, embeddings, [18], [0])
    with pytest.raises(ValueError, match="expected 2 trials"):
        plda.score_trials(embeddings, embeddings, [1, 2], [0])
