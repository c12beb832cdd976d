"""Maps are the layers that are promised; what is kept of them (numpy) gives what was trained (torch)."""

import numpy as np
import pytest
import torch

from steps.backend.alignment.mapper import Mapper, TrainableMapper
from steps.backend.estimator import get_state, set_state

KINDS = ("linear", "mlp", "residual")


def _trained(kind, sizes=(6, 10, 4)):
    """A map none of whose numbers is 0 or 1 as in the beginning."""
    mapper = TrainableMapper(kind, sizes, np.random.default_rng(3), torch.float64)
    for tensor in mapper.parameters():
        tensor.data += torch.from_numpy(np.random.default_rng(8).uniform(0.1, 0.5, tuple(tensor.shape)))
    for seed in range(3):
        mapper(torch.from_numpy(np.random.default_rng(seed).standard_normal((20, sizes[0]))), training=True)
    return mapper


def _layers(mapper):
    """The same network of torch.nn's own layers."""
    t = {name: tensor.detach() for name, tensor in mapper.tensors.items()}
    num_in, num_hidden = t["hidden_weight_DH"].shape
    first, norm, last = torch.nn.Linear(num_in, num_hidden), torch.nn.BatchNorm1d(num_hidden), torch.nn.Linear(num_hidden, 4)
    net = torch.nn.Sequential(first, torch.nn.ReLU(), norm, last).double()
    norm.weight.data, norm.bias.data = t["norm_gain_H"].clone(), t["norm_shift_H"].clone()
    norm.running_mean, norm.running_var = t["norm_mean_H"].clone(), t["norm_variance_H"].clone()
    first.weight.data, first.bias.data = t["hidden_weight_DH"].T.clone(), t["hidden_bias_H"].clone()
    last.weight.data, last.bias.data = t["output_weight_HE"].T.clone(), t["output_bias_E"].clone()
    return net


def test_the_mlp_is_linear_relu_norm_linear():
    mapper = _trained("mlp")
    net = _layers(mapper).train()
    for training in (True, True, False):
        rows = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(int(training)))
        net.train(training)
        expected = torch.nn.functional.normalize(net(torch.nn.functional.normalize(rows, dim=1)), dim=1)
        torch.testing.assert_close(mapper(rows, training=training), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(net[2].running_var, mapper.tensors["norm_variance_H"])


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_gives_what_torch_gives(kind):
    mapper, rows = _trained(kind), np.random.default_rng(9).standard_normal((7, 6))
    kept = Mapper(kind).take(mapper.arrays(), 6)
    expected = mapper(torch.from_numpy(rows), training=False).detach().numpy()
    np.testing.assert_allclose(kept.transform(rows), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(kept.transform(rows), axis=1), 1.0)
    np.testing.assert_allclose(kept.transform(5 * rows), kept.transform(rows), atol=1e-12)  # lengths have no influence


def test_the_residual_map_is_the_sum_of_a_linear_one_and_an_mlp():
    both = _trained("residual")
    rows = torch.from_numpy(np.random.default_rng(1).standard_normal((5, 6)))
    unit = torch.nn.functional.normalize(rows, dim=1)
    mlp = _layers(both).eval()
    expected = torch.nn.functional.normalize(mlp(unit) + unit @ both.tensors["skip_DE"], dim=1)
    torch.testing.assert_close(both(rows, training=False), expected, rtol=1e-10, atol=1e-12)


def test_the_identity_only_scales():
    rows = np.random.default_rng(1).standard_normal((5, 6))
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(Mapper("identity").take({}, 6).transform(rows), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    mapper = TrainableMapper(kind, (3, 4, 2), np.random.default_rng(3), torch.float64)
    rows = torch.from_numpy(np.random.default_rng(1).standard_normal((5, 3))).requires_grad_()
    inputs = (rows, *mapper.parameters())
    assert torch.autograd.gradcheck(lambda rows, *rest: mapper(rows, training=True), inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_state_carries_a_map(kind):
    kept = Mapper(kind).take(_trained(kind).arrays(), 6)
    again, rows = Mapper(kind), np.random.default_rng(9).standard_normal((7, 6))
    set_state(again, get_state(kept))
    np.testing.assert_array_equal(again.transform(rows), kept.transform(rows))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected a fitted estimator"):
        Mapper("mlp").transform(np.ones((2, 6)))
    kept = Mapper("mlp").take(_trained("mlp").arrays(), 6)
    with pytest.raises(ValueError, match="expected 6 dimensions as in training, found 5"):
        kept.transform(np.ones((2, 5)))
    with pytest.raises(ValueError, match="finite"):
        kept.transform(np.full((2, 6), np.nan))
    with pytest.raises(ValueError, match="length above 0"):
        kept.transform(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="expected identity, linear, mlp, residual, found 'deep'"):
        TrainableMapper("deep", (2, 2, 2), np.random.default_rng(0))
