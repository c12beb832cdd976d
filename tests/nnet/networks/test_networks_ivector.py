"""The i-vector network: the contract's clauses on clips, loops over frames, and that it follows its parameters."""

import numpy as np
import pytest
import torch

from steps.nnet.checkpoint import load_model, save_model
from steps.nnet.describe import layers_of
from steps.nnet.models import build_head, build_model, num_parameters
from steps.nnet.settings import IVector, NoHead
from tests.nnet.networks.contract import _check_padding, _check_shortest, feats

SMALL = IVector(num_gaussians=8, embedding_dim=5, gselect=3, posterior_floor=0.05, posterior_scale=0.7)
BINS = 6


def network(settings=SMALL, seed=0):
    """One with covariances, weights and means of every kind."""
    torch.manual_seed(seed)
    model = build_model(settings, BINS).eval()
    with torch.no_grad():
        for part in (model.ubm, model.extractor):
            roots = torch.eye(BINS) + 0.3 * torch.randn(settings.num_gaussians, BINS, BINS)
            part.covariances_CFF.copy_(roots @ roots.transpose(1, 2))
        model.ubm.weights_C.copy_(torch.rand(settings.num_gaussians).softmax(0))
        model.extractor.ubm_means_CF.copy_(model.ubm.means_CF)
        model.extractor.means_CF.copy_(model.ubm.means_CF + 0.2 * torch.randn(settings.num_gaussians, BINS))
        model.extractor.loadings_CFR.normal_(0, 0.3)
    return model


def textbook(model, feats_TF):
    """(I + T' S^-1 N T)^-1 T' S^-1 F of the selected, pruned and scaled posteriors of each frame."""
    p = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
    s, num = SMALL, SMALL.num_gaussians
    means, covariances = p["ubm.means_CF"], p["ubm.covariances_CFF"]
    count_C, first_CF = np.zeros(num), np.zeros((num, BINS))
    for x_F in np.asarray(feats_TF, dtype=np.float64):
        variances = covariances.diagonal(axis1=1, axis2=2)
        diagonal = np.log(p["ubm.weights_C"]) - 0.5 * (np.log(variances) + (x_F - means) ** 2 / variances).sum(axis=1)
        chosen = np.argsort(diagonal)[-s.gselect :]
        log_K = np.array([
            np.log(p["ubm.weights_C"][c]) - 0.5 * np.linalg.slogdet(covariances[c])[1]
            - 0.5 * (x_F - means[c]) @ np.linalg.solve(covariances[c], x_F - means[c]) for c in chosen
        ])  # fmt: skip
        posterior_K = np.exp(log_K - np.logaddexp.reduce(log_K))
        posterior_K *= posterior_K >= s.posterior_floor
        posterior_K *= s.posterior_scale / posterior_K.sum()
        count_C[chosen] += posterior_K
        first_CF[chosen] += posterior_K[:, None] * (x_F - p["extractor.means_CF"][chosen])
    loadings, inverses = p["extractor.loadings_CFR"], np.linalg.inv(p["extractor.covariances_CFF"])
    precision = np.eye(s.embedding_dim) + sum(n * t.T @ i @ t for n, t, i in zip(count_C, loadings, inverses, strict=True))
    return np.linalg.solve(precision, sum(t.T @ i @ f for t, i, f in zip(loadings, inverses, first_CF, strict=True)))


def test_an_embedding_is_the_textbooks_formula_on_loops_over_frames():
    model, feats_BTF = network(), feats(3, 40, BINS)
    found_BD = model(feats_BTF)
    assert (found_BD.shape, found_BD.dtype) == ((3, 5), torch.float32)
    for found_D, feats_TF in zip(found_BD, feats_BTF, strict=True):
        np.testing.assert_allclose(found_D, textbook(model, feats_TF), rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing_and_one_frame_is_enough():
    model = network()
    _check_padding(model, BINS, 61, 1e-6)
    _check_shortest(model, BINS, 61)
    assert model.min_frames == 1


def test_a_long_clip_is_taken_in_parts(monkeypatch):
    model, feats_BTF = network(), feats(2, 50, BINS)
    whole_BD = model(feats_BTF)
    monkeypatch.setitem(__import__("steps.nnet.ivector.statistics", fromlist=["CHUNK"]).CHUNK, "cpu", 13)
    torch.testing.assert_close(model(feats_BTF), whole_BD, rtol=0, atol=1e-6)


def test_what_is_derived_follows_the_parameters(tmp_path):
    """Loading, moving or changing them: the embeddings are those of the new ones."""
    one, other, clip_BTF = network(seed=0), network(seed=1), feats(2, 30, BINS)
    before_BD, expected_BD = one(clip_BTF), other(clip_BTF)
    assert not torch.allclose(before_BD, expected_BD, atol=0.1)
    save_model(tmp_path / "m", other)
    load_model(tmp_path / "m", one)
    assert torch.equal(one(clip_BTF), expected_BD)
    with torch.no_grad():
        one.extractor.loadings_CFR.mul_(0)
    assert torch.equal(one(clip_BTF), torch.zeros(2, 5))


def test_autocast_and_gradients_leave_it_alone():
    model, clip_BTF = network(), feats(2, 300, BINS).requires_grad_()
    expected_BD = model(clip_BTF)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(clip_BTF), expected_BD)
    assert not model(clip_BTF).requires_grad
    assert not any(p.requires_grad for p in model.parameters())
    assert model.classifier_input(torch.ones(2, 5)).tolist() == torch.ones(2, 5).tolist()


def test_fresh_networks_run_and_count_their_numbers():
    model = build_model(SMALL, BINS)
    assert torch.isfinite(model(torch.zeros(2, 10, BINS))).all()
    c, f, r = 8, BINS, 5
    assert num_parameters(model) == (c + c * f + c * f * f) + (2 * c * f + c * f * r + c * f * f)
    layers = layers_of(model, 20, BINS)
    assert [(each.name, each.shape) for each in layers] == [("ubm", (8,)), ("extractor", (5,))]
    assert sum(each.parameters for each in layers) == num_parameters(model)
    with torch.device("meta"):  # Kaldi's size: 2048 Gaussians over 72 bins, 400 dimensions
        assert num_parameters(build_model(IVector(num_gaussians=2048), 72)) == 80_660_480


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("num_gaussians", {"num_gaussians": 0}),
        ("embedding_dim", {"embedding_dim": 0}),
        ("init_iterations", {"init_iterations": 0}),
        ("iterations", {"iterations": 0}),
        ("ubm_every", {"ubm_every": 0}),
        ("gselect", {"gselect": -1}),
        ("init_gaussians", {"init_gaussians": 1025}),
        ("init_iterations", {"init_gaussians": 512, "init_iterations": 1}),
        ("posterior_floor", {"posterior_floor": 0.6}),
        ("posterior_scale", {"posterior_scale": 0.0}),
        ("variance_floor", {"variance_floor": -1.0}),
        ("covariance_floor", {"covariance_floor": 1.5}),
        ("covariance_floor", {"covariance_floor": 0.2, "update_covariances": False}),
        ("diagonal_gselect", {"diagonal_gselect": 20, "diagonal_iterations": 0}),
        ("longest_utterances", {"longest_utterances": -1}),
        ("statistics_memory", {"statistics_memory": -1.0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, changes):
    with pytest.raises(ValueError, match=rf"IVector\.{name}: expected .*"):
        IVector(**changes)


def test_there_is_no_head():
    with pytest.raises(ValueError, match="trained without gradients"):
        build_head(NoHead(), 5, 10)
