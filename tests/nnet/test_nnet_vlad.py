"""VLAD against plain loops."""

import math

import numpy as np
import pytest
import torch

from steps.nnet.vlad import VLAD


def by_loops(x_CT, assignment_KT, centres_KC):
    """Returns the vector of one clip: softmax, residuals, unit length, one number at a time."""
    vector = []
    for cluster, centre in enumerate(centres_KC):
        residual = [0.0] * len(centre)
        for x, scores in zip(x_CT.T, assignment_KT.T, strict=True):
            share = math.exp(scores[cluster]) / sum(math.exp(score) for score in scores)
            for c in range(len(centre)):
                residual[c] += share * (x[c] - centre[c])
        norm = math.sqrt(sum(r * r for r in residual))
        vector += [r / norm for r in residual]
    return vector


def example(clusters, ghosts, num_frames=7, dim=5, batch=3):
    generator = torch.Generator().manual_seed(clusters)
    pooling = VLAD(dim, clusters).double()
    pooling.centres_KC.data = torch.randn(clusters, dim, generator=generator, dtype=torch.double)
    x_BCT = torch.randn(batch, dim, num_frames, generator=generator, dtype=torch.double)
    return pooling, x_BCT, torch.randn(batch, clusters + ghosts, num_frames, generator=generator, dtype=torch.double)


@pytest.mark.parametrize(("clusters", "ghosts"), [(4, 0), (3, 2), (1, 1)])
def test_vlad_is_the_sum_of_weighted_residuals_per_cluster(clusters, ghosts):
    pooling, x_BCT, assignment_BKT = example(clusters, ghosts)
    with torch.no_grad():
        found = pooling(x_BCT, assignment_BKT)
    for row, x_CT, assignment_KT in zip(found.numpy(), x_BCT.numpy(), assignment_BKT.numpy(), strict=True):
        np.testing.assert_allclose(row, by_loops(x_CT, assignment_KT, pooling.centres_KC.detach().numpy()), rtol=1e-10)


def test_the_vector_has_the_norm_of_its_clusters_and_no_second_scaling():
    pooling, x_BCT, assignment_BKT = example(4, 2)
    torch.testing.assert_close(pooling(x_BCT, assignment_BKT).norm(dim=1), torch.full((3,), 2.0, dtype=torch.double))


def test_ghosts_take_frames_from_the_clusters():
    # frame 0 is all ghost, so the vector is that of the other frames
    pooling, x_BCT, assignment_BKT = example(3, 1)
    assignment_BKT[:, 3, 0] = 1e3
    with torch.no_grad():
        torch.testing.assert_close(pooling(x_BCT, assignment_BKT), pooling(x_BCT[..., 1:], assignment_BKT[..., 1:]))


def test_padding_changes_nothing():
    pooling, x_BCT, assignment_BKT = example(3, 2)
    mask_BT = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    with torch.no_grad():
        found = pooling(x_BCT, assignment_BKT, mask_BT)
        for b, length in enumerate((7, 4, 1)):
            alone = pooling(x_BCT[b : b + 1, :, :length], assignment_BKT[b : b + 1, :, :length])
            torch.testing.assert_close(found[b : b + 1], alone)


def test_a_cluster_without_frames_is_zero_and_has_a_finite_gradient():
    pooling, x_BCT, assignment_BKT = example(3, 0)
    assignment_BKT[:, 1] = -1e4
    vector = pooling(x_BCT.requires_grad_(), assignment_BKT)
    assert not vector[:, 5:10].any()
    vector.sum().backward()
    assert torch.isfinite(x_BCT.grad).all()
    assert torch.isfinite(pooling.centres_KC.grad).all()


def test_gradients_are_those_of_finite_differences():
    pooling, x_BCT, assignment_BKT = example(2, 1, num_frames=3, dim=3, batch=1)
    assert torch.autograd.gradcheck(pooling, (x_BCT.requires_grad_(), assignment_BKT.requires_grad_()))


def test_centres_start_orthogonal_and_bfloat16_is_summed_in_float32():
    pooling = VLAD(12, 4)
    torch.testing.assert_close(pooling.centres_KC @ pooling.centres_KC.T, torch.eye(4), atol=1e-5, rtol=0)
    x_BCT, assignment_BKT = torch.randn(2, 12, 300), torch.randn(2, 6, 300)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = pooling(x_BCT.bfloat16(), assignment_BKT.bfloat16())
    with torch.no_grad():
        expected = pooling(x_BCT.bfloat16().float(), assignment_BKT.bfloat16().float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
