"""The losses are what their formulas say, written out as loops, and their gradients are right."""

import math

import numpy as np
import pytest
import torch

from steps.backend.alignment.losses import aam_loss, ge2e_loss, ge2e_similarities, regression_loss


def _random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def _cos(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def _ge2e_by_loops(query, centroid_of, w, b):
    """Equations 5, 6 and 9 of Wan et al., with the offset; `centroid_of(k, i, j)` for query j of speaker i."""
    total, (num, each, _) = 0.0, query.shape
    for i in range(num):
        for j in range(each):
            s = [w * _cos(query[i, j], centroid_of(k, i, j)) + b for k in range(num)]
            total += -s[i] + math.log(sum(math.exp(value) for value in s))
    return total / (num * each)


@pytest.mark.parametrize("b", [-5.0, 3.0])
def test_ge2e_of_disjoint_utterances_is_the_double_loop_whatever_the_offset(b):
    query, centroid = _random(4, 3, 5), _random(4, 5, seed=1)
    expected = _ge2e_by_loops(query.numpy(), lambda k, i, j: centroid[k].numpy(), 10.0, b)
    assert float(ge2e_loss(query, centroid, 10.0)) == pytest.approx(expected, rel=1e-12)


def test_ge2e_of_shared_utterances_leaves_out_the_utterance_itself_where_k_is_i():
    query, enrol = _random(4, 3, 5), _random(4, 3, 5, seed=1)  # two models' embeddings of the same utterances

    def centroid_of(k, i, j):
        rows = [m for m in range(3) if not (k == i and m == j)]
        return np.mean([enrol[k, m].numpy() for m in rows], axis=0)

    own = torch.stack([torch.stack([enrol[i, [m for m in range(3) if m != j]].mean(0) for j in range(3)]) for i in range(4)])
    loss = float(ge2e_loss(query, enrol.mean(1), 7.0, own))
    assert loss == pytest.approx(_ge2e_by_loops(query.numpy(), centroid_of, 7.0, -5.0), rel=1e-12)
    assert loss > float(ge2e_loss(enrol, enrol.mean(1), 7.0))  # as it would be with itself left in


def test_ge2e_similarities_are_cosines():
    query, centroid = _random(2, 3, 5), _random(2, 5, seed=1)
    similarity = ge2e_similarities(query, centroid)
    assert similarity.shape == (2, 3, 2)
    assert float(similarity[1, 2, 0]) == pytest.approx(_cos(query[1, 2].numpy(), centroid[0].numpy()))


def _aam_by_loops(embedding, classes, target, s, m):
    total = 0.0
    for row, y in zip(embedding, target, strict=True):
        cosines = [_cos(row, each) for each in classes]
        angle = math.acos(cosines[y])
        shifted = math.cos(angle + m) if angle + m < math.pi else cosines[y] - m * math.sin(m)
        logits = [s * (shifted if k == y else c) for k, c in enumerate(cosines)]
        total += -logits[y] + math.log(sum(math.exp(value) for value in logits))
    return total / len(target)


def test_aam_is_the_plain_formula_also_past_its_guard():
    embedding, classes, target = _random(30, 4), _random(6, 4, seed=1), torch.arange(30) % 6
    embedding[0] = -classes[0] + 0.05 * _random(4, seed=2)  # theta + m > pi
    expected = _aam_by_loops(embedding.numpy(), classes.numpy(), target.tolist(), 32.0, 0.3)
    assert float(aam_loss(embedding, classes, target, scale=32.0, margin=0.3)) == pytest.approx(expected, rel=1e-10)


def test_aam_without_margin_is_a_cosine_softmax():
    embedding, classes, target = _random(8, 4), _random(6, 4, seed=1), torch.arange(8) % 6
    expected = _aam_by_loops(embedding.numpy(), classes.numpy(), target.tolist(), 5.0, 0.0)
    assert float(aam_loss(embedding, classes, target, scale=5.0, margin=0.0)) == pytest.approx(expected, rel=1e-10)


def test_regression_is_one_less_the_cosine():
    first, second = _random(5, 4), _random(5, 4, seed=1)
    expected = np.mean([1 - _cos(a, b) for a, b in zip(first.numpy(), second.numpy(), strict=True)])
    assert float(regression_loss(first, second)) == pytest.approx(expected, rel=1e-12)
    assert float(regression_loss(first, 3 * first)) == pytest.approx(0.0, abs=1e-12)


def test_gradients():
    query, centroid, own = (_random(*shape, seed=i).requires_grad_() for i, shape in enumerate([(3, 2, 4), (3, 4), (3, 2, 4)]))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ge2e_loss, (query, centroid, scale))
    assert torch.autograd.gradcheck(ge2e_loss, (query, centroid, scale, own))
    rows, classes = _random(5, 4).requires_grad_(), _random(3, 4, seed=1).requires_grad_()
    target = torch.tensor([0, 1, 2, 0, 1])
    assert torch.autograd.gradcheck(lambda a, b: aam_loss(a, b, target, scale=4.0, margin=0.2), (rows, classes))
    assert torch.autograd.gradcheck(regression_loss, (rows, _random(5, 4, seed=2).requires_grad_()))
