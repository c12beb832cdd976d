"""Statistics, E-step and M-step against loops over frames, utterances and components in numpy; recovery of a known model."""

import numpy as np
import pytest
import torch

from steps.nnet.ivector import total_variability as tv
from steps.nnet.ivector import ubm
from steps.nnet.ivector.mixture import Densities, Mixture
from steps.nnet.ivector.statistics import Statistics, baum_welch

C, F, R = 3, 4, 2


def world(num_utterances=40, num_frames=150, seed=0, loading=0.8):
    """Mixture, extractor and utterances `[U][T, F]` drawn from the model."""
    rng = np.random.default_rng(seed)
    weights_C, means_CF = np.array([0.5, 0.3, 0.2]), 12 * np.eye(C, F)
    loadings_CFR = loading * rng.normal(size=(C, F, R))
    roots_CFF = np.eye(F) + 0.2 * rng.normal(size=(C, F, F))
    covariances_CFF = roots_CFF @ roots_CFF.transpose(0, 2, 1)
    utterances, latent_UR = [], rng.standard_normal((num_utterances, R))
    for w_R in latent_UR:
        component_T = rng.choice(C, num_frames, p=weights_C)
        noise_TF = np.einsum("tij,tj->ti", roots_CFF[component_T], rng.standard_normal((num_frames, F)))
        utterances.append(means_CF[component_T] + loadings_CFR[component_T] @ w_R + noise_TF)
    truth = tv.Extractor(*(torch.from_numpy(part) for part in (means_CF, loadings_CFR, covariances_CFF)))
    total_CFF = covariances_CFF + loadings_CFR @ loadings_CFR.transpose(0, 2, 1)
    mixture = Mixture(*(torch.from_numpy(part) for part in (weights_C, means_CF, total_CFF)))
    return mixture, truth, utterances, latent_UR


def joined(utterances):
    feats_TF = torch.from_numpy(np.concatenate(utterances))
    return feats_TF, torch.repeat_interleave(torch.arange(len(utterances)), torch.tensor([len(each) for each in utterances]))


def statistics_of(mixture, utterances, **settings):
    scatter_CFF = torch.zeros(C, F, F).double()
    densities = Densities(mixture, settings.pop("num_selected", 0), torch.float64)
    found = baum_welch(densities, *joined(utterances), len(utterances), scatter_CFF=scatter_CFF, **settings)
    return found, scatter_CFF


def gaussian(x_F, mean_F, covariance_FF):
    centred_F = x_F - mean_F
    scale = np.sqrt(np.linalg.det(2 * np.pi * covariance_FF))
    return np.exp(-0.5 * centred_F @ np.linalg.solve(covariance_FF, centred_F)) / scale


def test_statistics_are_sums_over_frames(monkeypatch):
    monkeypatch.setitem(ubm.CHUNK, "cpu", 37)  # parts end within utterances
    mixture, _, utterances, _ = world(4, 30)
    utterances[1] = utterances[1][:7]
    found, scatter_CFF = statistics_of(mixture, utterances, floor=0.1, scale=0.5)
    weights_C, means_CF, covariances_CFF = (part.numpy() for part in (mixture.weights_C, mixture.means_CF, mixture.covariances))
    count_UC, first_UCF, second_CFF = np.zeros((4, C)), np.zeros((4, C, F)), np.zeros((C, F, F))
    for u, feats_TF in enumerate(utterances):
        for x_F in feats_TF:
            posterior_C = weights_C * [gaussian(x_F, means_CF[c], covariances_CFF[c]) for c in range(C)]
            posterior_C /= posterior_C.sum()
            posterior_C[posterior_C < 0.1] = 0
            posterior_C *= 0.5 / posterior_C.sum()
            for c in range(C):
                centred_F = x_F - means_CF[c]
                count_UC[u, c] += posterior_C[c]
                first_UCF[u, c] += posterior_C[c] * centred_F
                second_CFF[c] += posterior_C[c] * np.outer(centred_F, centred_F)
    np.testing.assert_allclose(found.count_UC, count_UC, atol=1e-9)
    np.testing.assert_allclose(found.first_UCF, first_UCF, atol=1e-8)
    np.testing.assert_allclose(scatter_CFF, second_CFF, atol=1e-8)


def textbook_posterior(extractor, ubm_means_CF, statistics, u):
    """Mean and covariance of w: (I + T' S^-1 N T)^-1 T' S^-1 F with supervectors and block matrices."""
    count_C, first_CF = statistics.count_UC[u].numpy(), statistics.first_UCF[u].numpy()
    loadings = extractor.loadings_CFR.reshape(C * F, R).numpy()
    inverse = np.zeros((C * F, C * F))
    for c in range(C):
        inverse[c * F : (c + 1) * F, c * F : (c + 1) * F] = np.linalg.inv(extractor.covariances_CFF[c])
    centred = (first_CF - count_C[:, None] * (extractor.means_CF - ubm_means_CF).numpy()).reshape(-1)
    precision_RR = np.eye(R) + loadings.T @ inverse @ np.diag(np.repeat(count_C, F)) @ loadings
    return np.linalg.solve(precision_RR, loadings.T @ inverse @ centred), np.linalg.inv(precision_RR)


def some_extractor(mixture, seed=3):
    """One whose means are not those of the UBM."""
    rng = np.random.default_rng(seed)
    start = tv.begin(mixture, R, rng)
    moved_CF = start.means_CF + 0.3 * torch.from_numpy(rng.normal(size=(C, F)))
    return tv.Extractor(moved_CF, 3 * start.loadings_CFR, start.covariances_CFF)


def test_extraction_is_the_textbooks():
    mixture, _, utterances, _ = world(6, 20)
    extractor, (statistics, _) = some_extractor(mixture), statistics_of(mixture, utterances)
    found_UR = tv.Posterior(extractor, mixture.means_CF).mean(statistics)
    for u in range(6):
        expected_R, _ = textbook_posterior(extractor, mixture.means_CF, statistics, u)
        np.testing.assert_allclose(found_UR[u], expected_R, rtol=1e-9)


def test_packing_loses_nothing():
    mixture, _, _, _ = world(2, 10)
    posterior = tv.Posterior(some_extractor(mixture), mixture.means_CF)
    root_URR = torch.randn(5, R, R, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(posterior.unpack(posterior.pack(root_URR @ root_URR.mT)), root_URR @ root_URR.mT)


def sums_of(extractor, mixture, statistics, parts=1):
    posterior = tv.Posterior(extractor, mixture.means_CF)
    sums = tv.Sums.zero(posterior)
    for count_UC, first_UCF in zip(statistics.count_UC.chunk(parts), statistics.first_UCF.chunk(parts), strict=True):
        sums.add(posterior, Statistics(count_UC, first_UCF))
    return posterior, sums


def textbook_iteration(extractor, mixture, statistics, scatter_CFF):
    """One EM iteration with loops: normal equations of each component on (w, 1), covariances, minimum divergence."""
    num = len(statistics.count_UC)
    shift_CF = (extractor.means_CF - mixture.means_CF).numpy()
    posteriors = [textbook_posterior(extractor, mixture.means_CF, statistics, u) for u in range(num)]
    means_CF, loadings_CFR, covariances_CFF = extractor.means_CF.numpy().copy(), np.zeros((C, F, R)), np.zeros((C, F, F))
    for c in range(C):
        left, right, second, total = np.zeros((R + 1, R + 1)), np.zeros((F, R + 1)), scatter_CFF[c].numpy().copy(), 0.0
        for u, (mean_R, covariance_RR) in enumerate(posteriors):
            n, raw_F = float(statistics.count_UC[u, c]), statistics.first_UCF[u, c].numpy()
            first_F, total = raw_F - n * shift_CF[c], total + n
            moment = np.block([[np.outer(mean_R, mean_R) + covariance_RR, mean_R[:, None]], [mean_R[None], np.ones((1, 1))]])
            left += n * moment
            right += np.outer(first_F, [*mean_R, 1.0])
            second += n * np.outer(shift_CF[c], shift_CF[c]) - np.outer(shift_CF[c], raw_F) - np.outer(raw_F, shift_CF[c])
        solved = right @ np.linalg.inv(left)
        loadings_CFR[c], means_CF[c] = solved[:, :R], means_CF[c] + solved[:, R]
        covariances_CFF[c] = (second - solved @ right.T - right @ solved.T + solved @ left @ solved.T) / total
    mean_R = np.mean([mean for mean, _ in posteriors], axis=0)
    prior_RR = np.mean([np.outer(mean - mean_R, mean - mean_R) + covariance for mean, covariance in posteriors], axis=0)
    return means_CF + loadings_CFR @ mean_R, loadings_CFR @ np.linalg.cholesky(prior_RR), covariances_CFF


@pytest.mark.parametrize("parts", [1, 3])
def test_an_iteration_is_the_textbooks(parts):
    mixture, _, utterances, _ = world(12, 60)
    extractor, (statistics, scatter_CFF) = some_extractor(mixture), statistics_of(mixture, utterances)
    posterior, sums = sums_of(extractor, mixture, statistics, parts)
    found = tv.update(extractor, posterior, sums, scatter_CFF, covariance_floor=0.0)
    expected_parts = textbook_iteration(extractor, mixture, statistics, scatter_CFF)
    for name, expected in zip(("means_CF", "loadings_CFR", "covariances_CFF"), expected_parts, strict=True):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-7, atol=1e-9, err_msg=name)
    kept = tv.update(extractor, posterior, sums, scatter_CFF, update_covariances=False)
    torch.testing.assert_close(kept.loadings_CFR, found.loadings_CFR)
    assert kept.covariances_CFF is extractor.covariances_CFF


def test_the_likelihood_is_that_of_all_frames_of_an_utterance_as_one_gaussian():
    """Frames whose component is known: their joint density with w integrated out, by the covariance of all of them."""
    mixture, _, utterances, _ = world(3, 8)
    extractor, (statistics, scatter_CFF) = some_extractor(mixture), statistics_of(mixture, utterances)
    total = 0.0
    for feats_TF in utterances:
        component_T = (feats_TF @ np.eye(F, C)).argmax(axis=1)  # the means lie far apart: posteriors are 0 and 1
        mean = np.concatenate([extractor.means_CF[c].numpy() for c in component_T])
        loadings = np.concatenate([extractor.loadings_CFR[c].numpy() for c in component_T])
        covariance = loadings @ loadings.T
        for t, c in enumerate(component_T):
            covariance[t * F : (t + 1) * F, t * F : (t + 1) * F] += extractor.covariances_CFF[c].numpy()
        centred = feats_TF.reshape(-1) - mean
        log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
        total += -0.5 * (log_det + centred @ np.linalg.solve(covariance, centred))
    posterior, sums = sums_of(extractor, mixture, statistics)
    assert tv.log_likelihood(extractor, posterior, sums, scatter_CFF) == pytest.approx(total / 24, abs=1e-5)


def test_em_raises_the_likelihood_and_finds_the_model_that_the_data_came_from():
    mixture, truth, utterances, latent_UR = world(300, 200)
    statistics, scatter_CFF = statistics_of(mixture, utterances)
    extractor, history = tv.begin(mixture, R, np.random.default_rng(1)), []
    for _ in range(25):
        posterior, sums = sums_of(extractor, mixture, statistics)
        history.append(tv.log_likelihood(extractor, posterior, sums, scatter_CFF))
        extractor = tv.update(extractor, posterior, sums, scatter_CFF, covariance_floor=0.0)
    assert all(after >= before - 1e-12 for before, after in zip(history, history[1:], strict=False))
    of_truth = tv.log_likelihood(truth, *sums_of(truth, mixture, statistics), scatter_CFF)
    # 45 free numbers gain half a nat each over 60,000 frames; the maximum lies over the truth, and not far
    assert 0 < history[-1] - of_truth < 3 * 45 / 2 / 60_000
    # T is known up to a rotation of w: T T', the supervector's covariance, is what can be found
    found, expected = (each.loadings_CFR.reshape(C * F, R) for each in (extractor, truth))
    assert float((found @ found.T - expected @ expected.T).norm() / (expected @ expected.T).norm()) < 0.1
    torch.testing.assert_close(extractor.covariances_CFF, truth.covariances_CFF, rtol=0.05, atol=0.05)
    found_UR = tv.Posterior(extractor, mixture.means_CF).mean(statistics).numpy()
    stretches_R = np.linalg.svd(np.linalg.lstsq(found_UR, latent_UR, rcond=None)[0])[1]
    np.testing.assert_allclose(stretches_R, 1.0, atol=0.1)  # a rotation: no stretching, the prior is N(0, I)
    explained = 1 - np.var(latent_UR - found_UR @ np.linalg.lstsq(found_UR, latent_UR, rcond=None)[0]) / np.var(latent_UR)
    assert explained > 0.95


def test_the_posterior_over_the_training_utterances_is_the_prior_after_each_iteration():
    """What minimum divergence is for, at the fixed point: mean 0 and covariance I on average."""
    mixture, _, utterances, _ = world(60, 100)
    statistics, scatter_CFF = statistics_of(mixture, utterances)
    extractor = tv.begin(mixture, R, np.random.default_rng(1))
    for _ in range(60):
        posterior, sums = sums_of(extractor, mixture, statistics)
        extractor = tv.update(extractor, posterior, sums, scatter_CFF)
    _, sums = sums_of(extractor, mixture, statistics)
    np.testing.assert_allclose(sums.mean_R / 60, 0, atol=1e-3)
    np.testing.assert_allclose(sums.second_RR / 60, np.eye(R), atol=1e-3)


def test_covariances_stay_over_a_share_of_their_average_and_diagonal_if_asked_to():
    mixture, _, utterances, _ = world(20, 100)
    statistics, scatter_CFF = statistics_of(mixture, utterances)
    extractor = some_extractor(mixture)
    posterior, sums = sums_of(extractor, mixture, statistics)
    scatter_CFF[1] *= 0.02
    free, held = (
        tv.update(extractor, posterior, sums, scatter_CFF, covariance_floor=share).covariances_CFF for share in (0.0, 0.5)
    )
    average_FF = (sums.count_C[:, None, None] * free).sum(dim=0) / sums.count_C.sum()
    least = [torch.linalg.eigvals(torch.linalg.solve(average_FF, each)).real.min() for each in (free[1], held[1])]
    assert float(least[0]) < 0.5 - 1e-3
    assert float(least[1]) == pytest.approx(0.5, abs=1e-9)
    diagonal_CFF = tv.update(extractor, posterior, sums, scatter_CFF, covariance_floor=0.0, diagonal=True).covariances_CFF
    torch.testing.assert_close(diagonal_CFF, torch.diag_embed(free.diagonal(dim1=1, dim2=2)))


def test_a_component_with_hardly_any_frames_keeps_its_covariance_and_turns_with_the_others():
    mixture, _, utterances, _ = world(12, 60)
    statistics, scatter_CFF = statistics_of(mixture, utterances)
    statistics.count_UC[:, 2] *= 0.1
    statistics.first_UCF[:, 2] *= 0.1
    extractor = some_extractor(mixture)
    posterior, sums = sums_of(extractor, mixture, statistics)
    assert sums.count_C[2] < tv.MIN_COUNT < sums.count_C[1]
    found = tv.update(extractor, posterior, sums, scatter_CFF)
    torch.testing.assert_close(found.covariances_CFF[2], extractor.covariances_CFF[2])
    # what it says of a given utterance is as before: m + T w with w = mean + J v
    prior_RR = sums.second_RR / 12 - torch.outer(sums.mean_R, sums.mean_R) / 144
    torch.testing.assert_close(
        found.loadings_CFR[2] @ found.loadings_CFR[2].T, extractor.loadings_CFR[2] @ prior_RR @ extractor.loadings_CFR[2].T
    )
    torch.testing.assert_close(found.means_CF[2], extractor.means_CF[2] + extractor.loadings_CFR[2] @ sums.mean_R / 12)
