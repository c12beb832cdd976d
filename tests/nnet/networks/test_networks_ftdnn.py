"""Residual connections of the TDNN; the factorised TDNN by loops over frames and taps, its constraint by loops and by SVD."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from steps.nnet.models import build_model, num_parameters
from steps.nnet.networks.ftdnn import nearer_to_orthogonal
from steps.nnet.settings import FTDNN, MODEL_SETTINGS, XVector
from tests.nnet.networks.contract import check_contract, feats, small_model

SMALL = FTDNN(first_channels=6, channels=8, bottleneck=4, penultimate=10, embedding_dim=5)
RESIDUAL = XVector(
    channels=(8, 8, 8, 8, 6, 6, 6, 6, 12),
    kernel_sizes=(5, 1, 5, 1, 3, 1, 3, 1, 1),
    dilations=(1, 1, 2, 1, 3, 1, 4, 1, 1),
    embedding_dim=5,
    residual=True,
)
MODEL_FILES = Path(__file__).parents[3] / "conf" / "model"


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        FTDNN(first_channels=8, channels=6, bottleneck=6, penultimate=8, embedding_dim=5, pooling="mean", segment_layers=1),
        RESIDUAL,
        XVector(channels=(8, 8, 8, 8), kernel_sizes=(3, 2, 2, 1), dilations=(1, 2, 3, 1), embedding_dim=5, residual=True),
    ],
)
def test_contract(settings):
    check_contract(settings)


@pytest.mark.parametrize(
    ("name", "num_bins", "to_embedding", "all_parameters", "min_frames"),
    [
        ("ftdnn", 30, 11_884_544, 12_147_200, 28),
        ("etdnn", 30, 6_057_436, 6_320_092, 24),
        ("tdnn_big", 40, 20_040_144, 20_302_800, 28),
        ("xvector", 30, 4_219_868, 4_482_524, 16),
    ],
)
def test_model_files_have_the_parameters_of_the_papers_networks(name, num_bins, to_embedding, all_parameters, min_frames):
    settings = from_file(name)
    with torch.device("meta"):
        model = build_model(settings, num_bins)
    assert num_parameters(model) == all_parameters
    assert num_parameters(model) - num_parameters(model.segment) == to_embedding
    assert model.min_frames == min_frames


def from_file(name):
    with open(MODEL_FILES / f"{name}.toml", "rb") as file:
        fields = tomllib.load(file)["model"]
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return MODEL_SETTINGS[fields["type"]](**fields)


def test_residual_connections_add_no_parameters_and_need_a_pair_of_one_width():
    fields = {"channels": (512, 512, 512), "kernel_sizes": (5, 3, 1), "dilations": (1, 1, 1)}
    with pytest.raises(ValueError, match="residual: no pair of layers after the first keeps its width"):
        XVector(**fields, residual=True)
    with torch.device("meta"):
        plain, residual = (
            build_model(XVector(channels=(8,) * 4, kernel_sizes=(3,) * 4, dilations=(1,) * 4, residual=residual), 20)
            for residual in (False, True)
        )
    assert num_parameters(plain) == num_parameters(residual)
    assert plain.state_dict().keys() == residual.state_dict().keys()


def tdnn(x_TC, weight, bias, offsets):
    """Returns an affine map of the frames at these offsets, for all frames that have them."""
    centres = range(-offsets[0], len(x_TC) - offsets[-1])
    return np.stack([sum(weight[:, :, k] @ x_TC[t + o] for k, o in enumerate(offsets)) + bias for t in centres])


def numpy_of(tensor):
    return tensor.detach().numpy()


def relu_norm(x_TC, norm):
    assert not norm.affine
    return (np.maximum(x_TC, 0) - numpy_of(norm.running_mean)) / np.sqrt(numpy_of(norm.running_var) + 1e-3)


def pooled_embedding(x_TC, embedding):
    pooled = np.concatenate([x_TC.mean(0), np.sqrt(x_TC.var(0) + 1e-10)])
    return numpy_of(embedding.weight) @ pooled + numpy_of(embedding.bias)


def test_residual_tdnn_adds_the_middle_frames_of_what_enters_a_pair():
    model = small_model(RESIDUAL).double()
    feats_BTF = feats(1, 40).double()
    offsets = [[-2, -1, 0, 1, 2], [0], [-4, -2, 0, 2, 4], [0], [-3, 0, 3], [0], [-4, 0, 4], [0], [0]]
    y = [feats_BTF[0].numpy()]
    for number, layer in enumerate(model.frame_layers, start=1):
        y.append(
            relu_norm(tdnn(y[-1], numpy_of(layer.affine.weight), numpy_of(layer.affine.bias), offsets[number - 1]), layer.norm)
        )
        # layers 5 and 6 change the width, 1 and 2 see the features
        if number in (4, 8):
            lost = (len(y[number - 2]) - len(y[number])) // 2
            y[-1] = y[number] + y[number - 2][lost : lost + len(y[number])]
    with torch.no_grad():
        found = model(feats_BTF)[0].numpy()
    np.testing.assert_allclose(found, pooled_embedding(y[-1], model.embedding), rtol=1e-9)


def test_factorised_tdnn_is_its_sheet_computed_by_loops():
    model = small_model(SMALL).double()
    feats_BTF = feats(1, 36).double()

    def factorised(x_TC, layer, context, bypass):
        first, second = ([-context, 0], [0, context]) if context else ([0], [0])
        inner = tdnn(x_TC, numpy_of(layer.factor.weight), 0.0, first)
        y_TC = relu_norm(tdnn(inner, numpy_of(layer.affine.weight), numpy_of(layer.affine.bias), second), layer.norm)
        return y_TC + bypass * x_TC[context : len(x_TC) - context] if bypass else y_TC

    def cut(x_TC, frames):
        return x_TC[frames : len(x_TC) - frames]

    layers = dict(zip(range(2, 10), model.factorised, strict=True))
    dense = [(numpy_of(layer.affine.weight), numpy_of(layer.affine.bias)) for layer in (model.first, model.last)]
    y1 = relu_norm(tdnn(feats_BTF[0].numpy(), *dense[0], [-2, -1, 0, 1, 2]), model.first.norm)
    y2 = factorised(y1, layers[2], 2, 0)
    y3 = factorised(y2, layers[3], 0, 0.66)
    y4 = factorised(y3, layers[4], 3, 0.66)
    y5 = factorised(y3, layers[5], 0, 0.66)
    y6 = factorised(y5, layers[6], 3, 0.66)
    y7 = factorised(np.concatenate([cut(y2, 3), y4], axis=1), layers[7], 3, 0)
    y8 = factorised(y7, layers[8], 3, 0.66)
    y9 = factorised(np.concatenate([cut(y4, 6), cut(y6, 6), y8], axis=1), layers[9], 0, 0)
    y10 = relu_norm(tdnn(y9, *dense[1], [0]), model.last.norm)
    assert len(y10) == 36 - 26
    with torch.no_grad():
        found = model(feats_BTF)[0].numpy()
    np.testing.assert_allclose(found, pooled_embedding(y10, model.embedding), rtol=1e-9)


def step_by_loops(M):
    """Returns M - (1 / (2 s^2)) (M M' - s^2 I) M with s^2 = tr(P P') / tr(P), P = M M'."""
    rows, columns = M.shape
    P = [[sum(M[i, k] * M[j, k] for k in range(columns)) for j in range(rows)] for i in range(rows)]
    scale2 = sum(P[i][j] ** 2 for i in range(rows) for j in range(rows)) / sum(P[i][i] for i in range(rows))
    new = M.copy()
    for i in range(rows):
        for k in range(columns):
            new[i, k] -= sum((P[i][j] - scale2 * (i == j)) * M[j, k] for j in range(rows)) / (2 * scale2)
    return new


def test_a_step_to_orthogonality_is_the_formula():
    M = np.random.default_rng(3).normal(size=(4, 9))
    found = nearer_to_orthogonal(torch.from_numpy(M)).numpy()
    np.testing.assert_allclose(found, step_by_loops(M), rtol=1e-12)
    with_one_direction = np.eye(3, 5) * np.array([[10.0], [1.0], [1.0]])
    full = step_by_loops(with_one_direction) - with_one_direction
    slowed = nearer_to_orthogonal(torch.from_numpy(with_one_direction), slowed=True).numpy()
    np.testing.assert_allclose(slowed - with_one_direction, full / 4, rtol=1e-12)


def test_updates_make_the_first_factors_rows_orthogonal_and_of_one_norm():
    model = small_model(SMALL)
    weights = [layer.factor.weight for layer in model.factorised]
    expected = [step_by_loops(w.detach().double().flatten(1).numpy()) for w in weights]
    untouched = model.factorised[0].affine.weight.detach().clone()
    before = [w.detach().clone() for w in weights]
    for update in (1, 2, 3):
        model.after_update(update)
    assert all(torch.equal(w, old) for w, old in zip(weights, before, strict=True))
    model.after_update(4)
    for w, one_step in zip(weights, expected, strict=True):
        np.testing.assert_allclose(w.detach().flatten(1).numpy(), one_step, rtol=0, atol=1e-6)
    for update in range(5, 61):
        model.after_update(update)
    for w in weights:
        singular = torch.linalg.svdvals(w.detach().flatten(1).double())
        assert singular.max() / singular.min() < 1 + 1e-5
        assert w.requires_grad
        assert w.is_leaf
    assert torch.equal(model.factorised[0].affine.weight, untouched)


def test_the_published_width_starts_within_reach_of_the_constraint():
    # 256 x 2048 normal numbers: singular values from 0.65 to 1.35, which four steps bring within a thousandth
    matrix = torch.randn(256, 2048, generator=torch.Generator().manual_seed(5)) * 2048**-0.5
    for _ in range(4):
        matrix = nearer_to_orthogonal(matrix)
    singular = torch.linalg.svdvals(matrix)
    assert singular.max() / singular.min() < 1.001


def test_a_bottleneck_without_orthogonal_rows_is_refused():
    with pytest.raises(ValueError, match="bottleneck: expected at most 8"):
        FTDNN(first_channels=4, channels=64, bottleneck=9)
