"""EM for mixtures against scikit-learn and loops; what splitting, floors and small components do."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from steps.nnet.ivector import ubm
from steps.nnet.ivector.mixture import Densities, DiagonalDensities, Mixture, posteriors
from steps.nnet.ivector.pairs import Pairs, log_forms, scatters

NO_FLOOR = torch.zeros(4, dtype=torch.float64)


def frames(num=900, num_bins=4, seed=0):
    """Three clouds of different sizes and shapes."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((num // 3, num_bins)) @ rng.normal(size=(num_bins, num_bins)) + 3 * c for c in range(3)]
    return torch.from_numpy(np.concatenate(parts)[rng.permutation(num // 3 * 3)])


def em(mixture, feats_TF, iterations, num_selected=0):
    """Log-likelihood per frame before each iteration, and the mixture after the last."""
    history = []
    for _ in range(iterations):
        sums = ubm.Sums.zero(mixture)
        (ubm.full_sums if mixture.is_full else ubm.diagonal_sums)(mixture, feats_TF, sums, num_selected)
        mixture = ubm.update(mixture, sums, NO_FLOOR)
        history.append(sums.log_likelihood / sums.num_frames)
    return mixture, history


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_em_is_that_of_scikit_learn(kind, monkeypatch):
    monkeypatch.setitem(ubm.CHUNK, "cpu", 250)  # so that frames come in several parts
    feats_TF = frames()
    mixture = ubm.begin(feats_TF, 5, np.random.default_rng(1))
    if kind == "full":
        mixture = mixture.full()
    precisions = 1 / mixture.covariances if kind == "diag" else torch.linalg.inv(mixture.covariances)
    with pytest.warns(match="did not converge"):
        oracle = GaussianMixture(
            5, covariance_type=kind, tol=0, reg_covar=0, max_iter=8, means_init=mixture.means_CF.numpy(),
            weights_init=mixture.weights_C.numpy(), precisions_init=precisions.numpy(),
        ).fit(feats_TF.numpy())  # fmt: skip
    found, history = em(mixture, feats_TF, 8)
    np.testing.assert_allclose(found.weights_C, oracle.weights_, rtol=1e-9)
    np.testing.assert_allclose(found.means_CF, oracle.means_, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.covariances, oracle.covariances_, rtol=1e-7, atol=1e-8)
    assert history[-1] == pytest.approx(oracle.lower_bound_, abs=1e-9)
    assert all(after >= before - 1e-12 for before, after in zip(history, history[1:], strict=False))


def test_densities_are_those_of_the_textbook():
    feats_TF = frames(60)
    mixture, _ = em(ubm.begin(feats_TF, 4, np.random.default_rng(0)).full(), feats_TF, 3)
    densities = Densities(mixture, 0, torch.float64)
    found_TK = densities(feats_TF, densities.select(feats_TF))
    for t, c in ((0, 0), (7, 3), (59, 1)):
        centred_F, covariance_FF = (feats_TF[t] - mixture.means_CF[c]).numpy(), mixture.covariances[c].numpy()
        distance = centred_F @ np.linalg.inv(covariance_FF) @ centred_F
        log_det = math.log(np.linalg.det(covariance_FF))
        expected = math.log(mixture.weights_C[c]) - 0.5 * (4 * math.log(2 * math.pi) + log_det + distance)
        assert float(found_TK[t, c]) == pytest.approx(expected, abs=1e-10)


def test_selection_takes_the_components_that_are_likeliest_with_the_diagonals():
    feats_TF = frames(90)
    mixture, _ = em(ubm.begin(feats_TF, 6, np.random.default_rng(0)).full(), feats_TF, 2)
    densities, every = Densities(mixture, 2, torch.float64), Densities(mixture, 0, torch.float64)
    diagonal_TC = DiagonalDensities(mixture, torch.float64)(feats_TF)
    index_TK = densities.select(feats_TF)
    assert [set(row) for row in index_TK.tolist()] == [set(row[-2:]) for row in diagonal_TC.argsort(dim=1).tolist()]
    everything_TC = every(feats_TF, every.select(feats_TF))
    torch.testing.assert_close(densities(feats_TF, index_TK), everything_TC.gather(1, index_TK), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_em_with_selection_counts_each_frame_for_its_likeliest_components_only(kind):
    feats_TF = frames(120)
    mixture, _ = em(ubm.begin(feats_TF, 6, np.random.default_rng(0)), feats_TF, 2)
    mixture = mixture.full() if kind == "full" else mixture
    sums = ubm.Sums.zero(mixture)
    (ubm.full_sums if kind == "full" else ubm.diagonal_sums)(mixture, feats_TF, sums, 2)
    every = Densities(mixture, 0, torch.float64)
    log_TC = every(feats_TF, every.select(feats_TF)).numpy()
    chosen_TC = DiagonalDensities(mixture, torch.float64)(feats_TF).numpy().argsort(axis=1)[:, -2:]
    count_C, first_CF, likelihood = np.zeros(6), np.zeros((6, 4)), 0.0
    for t, chosen in enumerate(chosen_TC):
        total = np.logaddexp.reduce(log_TC[t, chosen])
        likelihood += total
        for c in chosen:
            count_C[c] += np.exp(log_TC[t, c] - total)
            first_CF[c] += np.exp(log_TC[t, c] - total) * feats_TF[t].numpy()
    np.testing.assert_allclose(sums.count_C, count_C, atol=1e-9)
    np.testing.assert_allclose(sums.first_CF, first_CF, atol=1e-9)
    assert sums.log_likelihood == pytest.approx(likelihood, abs=1e-8)


def test_posteriors_below_the_floor_go_to_the_others_and_the_largest_stays():
    log_TK = torch.tensor([[0.7, 0.28, 0.02], [0.34, 0.33, 0.33], [0.02, 0.9, 0.08]], dtype=torch.float64).log() - 3.0
    found_TK, log_likelihood_T = posteriors(log_TK, 0.025)
    expected_TK = [[0.7 / 0.98, 0.28 / 0.98, 0.0], [0.34, 0.33, 0.33], [0.0, 0.9 / 0.98, 0.08 / 0.98]]
    np.testing.assert_allclose(found_TK, expected_TK, rtol=1e-12, atol=0)
    torch.testing.assert_close(log_likelihood_T, torch.full((3,), -3.0, dtype=torch.float64))
    assert posteriors(log_TK, 0.4)[0][1].tolist() == [1.0, 0.0, 0.0]


def test_tiles_and_components_one_by_one_give_the_same():
    """A GPU goes by tiles; more than one tile of a component, empty components and a full last tile occur."""
    rng = torch.Generator().manual_seed(0)
    feats_TF, index_TK = frames(270), torch.randint(0, 9, (270, 3), generator=rng)
    index_TK[index_TK == 4] = 5
    index_TK[:32, 0], index_TK[:32, 1:], index_TK[32:][index_TK[32:] == 0] = 0, 8, 8
    pairs = Pairs.sorted(index_TK, 9)
    assert int(pairs.count_C[0]) == 32
    means_CF, whitening_CFF = torch.randn(9, 4, generator=rng).double(), torch.randn(9, 4, 4, generator=rng).double()
    weight_P = torch.rand(len(pairs.frame_P), generator=rng).double()
    forms = [log_forms(feats_TF, pairs, means_CF, whitening_CFF, tiled) for tiled in (False, True)]
    torch.testing.assert_close(*forms, rtol=1e-12, atol=1e-12)
    sums = [scatters(feats_TF, pairs, weight_P, means_CF, tiled) for tiled in (False, True)]
    torch.testing.assert_close(*sums, rtol=1e-12, atol=1e-12)
    expected_CFF = torch.zeros(9, 4, 4).double()
    for place, weight in zip(pairs.order_P.tolist(), weight_P, strict=True):
        c = int(index_TK.reshape(-1)[place])
        expected_CFF[c] += weight * torch.outer(*[feats_TF[place // 3] - means_CF[c]] * 2)
    torch.testing.assert_close(sums[0], expected_CFF, rtol=1e-10, atol=1e-10)


def test_the_heaviest_component_is_halved_until_there_are_enough():
    mixture = Mixture(*(torch.tensor(part).double() for part in ([0.6, 0.3, 0.1], np.eye(3, 2), [[4.0, 1.0]] * 3)))
    found = ubm.split(mixture, 5, np.random.default_rng(0))
    # 0.6 -> 0.3 + 0.3; then the first of the three of 0.3
    assert sorted(found.weights_C.tolist()) == pytest.approx([0.1, 0.15, 0.15, 0.3, 0.3])
    torch.testing.assert_close(found.weights_C @ found.means_CF, mixture.weights_C @ mixture.means_CF)  # the mean stays
    assert len(set(map(tuple, found.means_CF.tolist()))) == 5
    halves = torch.stack([ubm.split(mixture, 4, np.random.default_rng(seed)).means_CF[3] for seed in range(400)])
    np.testing.assert_allclose((halves - mixture.means_CF[0]).std(dim=0), [0.2, 0.1], rtol=0.15)


def test_variances_stay_over_their_floor_in_every_direction():
    floor_F = torch.tensor([0.5, 0.5, 0.5, 0.5]).double()
    feats_TF = frames(300)
    feats_TF[:, 3] = feats_TF[:, 2] + 1e-4 * feats_TF[:, 3]  # each varies, their difference does not
    diagonal = ubm.begin(feats_TF, 3, np.random.default_rng(0))
    for mixture in (diagonal, diagonal.full()):
        sums = ubm.Sums.zero(mixture)
        (ubm.full_sums if mixture.is_full else ubm.diagonal_sums)(mixture, feats_TF, sums)
        found, free = ubm.update(mixture, sums, floor_F), ubm.update(mixture, sums, torch.zeros(4).double())
        if mixture.is_full:
            assert torch.linalg.eigvalsh(free.covariances).min() < 1e-3
            assert torch.linalg.eigvalsh(found.covariances).min() == pytest.approx(0.5, abs=1e-9)
        else:
            torch.testing.assert_close(found.covariances, free.covariances.clamp_min(0.5))


def test_a_floor_raises_only_what_is_below_it():
    """Against the eigenvalues of the pair: S u = l V u."""
    import scipy.linalg

    rng = np.random.default_rng(0)
    roots = rng.normal(size=(4, 3, 3))
    covariances, floor = np.einsum("cij,ckj->cik", roots, roots), np.diag([0.5, 1.0, 0.2]) + 0.1
    found = ubm.floored(torch.from_numpy(covariances), torch.from_numpy(floor)).numpy()
    for before, after in zip(covariances, found, strict=True):
        expected = np.maximum(scipy.linalg.eigh(before, floor, eigvals_only=True), 1.0)
        np.testing.assert_allclose(scipy.linalg.eigh(after, floor, eigvals_only=True), expected, rtol=1e-9)
    np.testing.assert_array_equal(ubm.floored(torch.eye(3)[None].double() * 9, torch.from_numpy(floor))[0], np.eye(3) * 9)


def test_a_component_with_hardly_any_frames_keeps_its_place():
    feats_TF = frames(300)
    far = Mixture(torch.tensor([0.9, 0.1]).double(), torch.tensor([[3.0] * 4, [1e3] * 4]).double(), torch.ones(2, 4).double() * 9)
    for mixture in (far, far.full()):
        found, _ = em(mixture, feats_TF, 1)
        torch.testing.assert_close(found.means_CF[1], mixture.means_CF[1])
        torch.testing.assert_close(found.covariances[1], mixture.covariances[1])
        assert float(found.weights_C[1]) == pytest.approx(1e-5, rel=1e-3)
        assert float(found.weights_C.sum()) == pytest.approx(1.0)


def test_what_no_mixture_can_be_made_of_is_refused():
    with pytest.raises(ValueError, match="at least 10 frames for each of 31 components, found 300"):
        ubm.begin(frames(300), 31, np.random.default_rng(0))
    still = frames(300)
    still[:, 2] = 1.0
    with pytest.raises(ValueError, match=r"same value in all 300 frames in bins \[2\]"):
        ubm.begin(still, 2, np.random.default_rng(0))
