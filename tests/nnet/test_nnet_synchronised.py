"""Ranks against one process: gathered rows, batch norms, sums of gradients; and one that is gone is noticed."""

import os
import time

import pytest
import torch
from torch import nn

from steps.nnet.distributed import ALONE, RankLost, World, share_of
from steps.nnet.synchronised import GradientSum, SyncBatchNorm, synchronise_batch_norms
from tests.nnet.ranks import in_ranks


@pytest.mark.parametrize(("num", "size"), [(7, 3), (8, 2), (2, 2), (5, 1)])
def test_shares_are_everything_once_in_order_and_differ_by_one_at_most(num, size):
    shares = [share_of(num, World(rank, size)) for rank in range(size)]
    things = list(range(num))
    assert [each for share in shares for each in things[share]] == things
    lengths = [share.stop - share.start for share in shares]
    assert max(lengths) - min(lengths) <= 1


def _norms(x, weighted, mode):
    """Output, gradients and statistics of two updates of a batch norm, for a loss in which every output counts otherwise."""
    torch.manual_seed(3)
    norm = (nn.BatchNorm1d if x.ndim < 4 else nn.BatchNorm2d)(x.shape[1], affine=weighted, momentum=mode).double()
    if weighted:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(norm)


def _normalised(world, x, weighted, momentum, factors):
    share = share_of(len(x), world)
    module = _norms(x, weighted, momentum)
    synchronise_batch_norms(module, world)
    assert isinstance(module[0], SyncBatchNorm)
    own = x[share].clone().requires_grad_()
    for _ in range(2):
        y = module(own)
        (y.square() * factors[share]).sum().backward()
    weights = [p.grad for p in module.parameters()]
    return y.detach(), own.grad, weights, module.state_dict(), module.eval()(own).detach()


@pytest.mark.parametrize(
    ("shape", "weighted", "momentum"), [((5, 3), True, 0.1), ((5, 3, 4), False, None), ((7, 2, 3, 4), True, 0.3)]
)
def test_a_batch_norm_over_ranks_is_torchs_over_the_whole_batch(shape, weighted, momentum):
    generator = torch.Generator().manual_seed(1)
    x, factors = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    x = 3.0 + 2.0 * x
    module = _norms(x, weighted, momentum)
    whole = x.clone().requires_grad_()
    for _ in range(2):
        y = module(whole)
        (y.square() * factors).sum().backward()
    found = in_ranks(3, _normalised, x, weighted, momentum, factors)
    torch.testing.assert_close(torch.cat([each[0] for each in found]), y.detach())
    torch.testing.assert_close(torch.cat([each[1] for each in found]), whole.grad)
    for number, parameter in enumerate(module.parameters()):
        torch.testing.assert_close(sum(each[2][number] for each in found), parameter.grad)
    assert all(each[3].keys() == module.state_dict().keys() for each in found)
    for name, value in module.state_dict().items():
        for each in found:
            torch.testing.assert_close(each[3][name], value)
    torch.testing.assert_close(torch.cat([each[4] for each in found]), module.eval()(x))


def _in_half(world, x, factors):
    torch.manual_seed(3)
    module = nn.Sequential(nn.BatchNorm2d(x.shape[1]))
    nn.init.normal_(module[0].weight)
    synchronise_batch_norms(module, world)
    share = share_of(len(x), world)
    own = x[share].clone(memory_format=torch.channels_last).requires_grad_()
    y = module(own)
    (y.float() * factors[share]).sum().backward()
    return y.detach(), own.grad, [p.grad for p in module.parameters()], module[0].running_var


def test_a_batch_norm_over_ranks_of_bf16_is_exact_to_its_last_bits():
    generator = torch.Generator().manual_seed(1)
    x = (2.0 + torch.randn((6, 4, 9, 8), generator=generator)).bfloat16().to(memory_format=torch.channels_last)
    factors = torch.randn(x.shape, generator=generator).bfloat16().float()  # which a gradient of bf16 can be
    torch.manual_seed(3)
    exact = nn.BatchNorm2d(4)
    nn.init.normal_(exact.weight)
    exact.double()
    whole = x.double().requires_grad_()
    y = exact(whole)
    (y * factors).sum().backward()
    found = in_ranks(2, _in_half, x, factors)
    assert all(each[0].dtype == each[1].dtype == torch.bfloat16 and each[3].dtype == torch.float32 for each in found)
    torch.testing.assert_close(torch.cat([each[0] for each in found]).double(), y.detach(), rtol=2**-8, atol=2e-3)
    torch.testing.assert_close(torch.cat([each[1] for each in found]).double(), whole.grad, rtol=2**-7, atol=2e-3)
    for number, parameter in enumerate(exact.parameters()):
        torch.testing.assert_close(sum(each[2][number] for each in found).double(), parameter.grad, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found[0][3].double(), exact.running_var, rtol=1e-6, atol=0)


def _gathered(world, x, split_loss):
    own = x[share_of(len(x), world)].clone().requires_grad_()
    whole = world.together(own, world.sizes(len(own)), split_loss=split_loss)
    # With a loss that is split, each rank looks at columns of its own.
    seen = whole[:, world.rank :: world.size] if split_loss else whole
    (seen**3).sum().backward()
    return whole.detach(), own.grad


@pytest.mark.parametrize("split_loss", [False, True])
def test_rows_of_all_ranks_come_together_with_the_gradient_of_each(split_loss):
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = in_ranks(3, _gathered, x, split_loss)
    assert all(torch.equal(whole, x) for whole, _ in found)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in found]), 3.0 * x.square())


def _summed(world, factor):
    torch.manual_seed(4)
    parameters = [nn.Parameter(torch.randn(shape)) for shape in ((3, 3), (4,), (2,))]
    sums = GradientSum(parameters, [1.0, factor, 1.0], world)
    results = []
    for _ in range(2):
        for each in parameters:
            each.grad = None
        sums.begin()
        loss = (world.rank + 1) * parameters[0].square().sum() + 10 * (world.rank + 1) * parameters[1].sum()
        loss.backward()
        sums.finish()
        results.append([None if p.grad is None else p.grad.clone() for p in parameters])
    return [p.detach() for p in parameters], results, len(sums.buckets)


def test_gradients_are_sums_over_ranks_whatever_the_buckets(monkeypatch):
    for limit, num_buckets in ((1, 3), (2**20, 1)):
        monkeypatch.setattr("steps.nnet.synchronised.BUCKET_BYTES", limit)
        for parameters, results, found in in_ranks(2, _summed, 0.5):
            assert found == num_buckets
            for first, second, third in results:
                torch.testing.assert_close(first, 6.0 * parameters[0])
                torch.testing.assert_close(second, torch.full((4,), 15.0))
                assert third is None  # a parameter that no rank uses stays without


def _one_dies(world):
    if world.rank == 1:
        time.sleep(0.5)  # the other one may still be joining
        os._exit(9)
    began = time.monotonic()
    with pytest.raises(RankLost):
        world.add_(torch.ones(1))
    return time.monotonic() - began


def _one_is_slow(world):
    if world.rank == 1:
        time.sleep(4.5)
        return None
    with pytest.raises(RankLost):
        world.add_(torch.ones(1))
    return "noticed"


def test_a_rank_that_is_gone_or_silent_is_not_waited_for():
    assert in_ranks(2, _one_dies)[0] < 20
    assert in_ranks(2, _one_is_slow, timeout=3.0)[0] == "noticed"


def test_one_process_is_a_world_of_its_own():
    x = torch.randn(3, 2)
    assert ALONE.add_(x) is x
    assert ALONE.together(x, [3]) is x
    assert ALONE.from_first({"a": 1}) == {"a": 1}
    assert ALONE.agreed(True, False) == [True, False]
