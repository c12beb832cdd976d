"""A-softmax and SphereFace2 against double loops over the formulas."""

import math

import pytest
import torch

from steps.nnet.heads.sphere import falling_cosine
from steps.nnet.models import build_head
from steps.nnet.settings import ASoftmax, SphereFace2
from tests.nnet.heads.loops import cosines, cross_entropy, example, head_of, hit, norm


def psi(angle, m):
    k = math.floor(m * angle / math.pi)
    return (-1) ** k * math.cos(m * angle) - 2 * k


@pytest.mark.parametrize("update", [0, 1, 700, 10**6])
@pytest.mark.parametrize("settings", [ASoftmax(), ASoftmax(multiple=3, lambda_start=20.0, lambda_decay=0.5, lambda_min=0.0)])
def test_a_softmax_is_that_of_loops_at_every_stage_of_the_annealing(settings, update):
    head = head_of(settings)
    head.update = update
    x_BD, labels_B = example()
    with torch.no_grad():
        x_BD[-2:] = -head.weight_SD[labels_B[-2:]] + 0.05 * x_BD[-2:] * head.weight_SD.abs().mean()
        losses_B, hits_B = head(x_BD, labels_B)
    annealing = max(settings.lambda_min, settings.lambda_start / (1 + settings.lambda_decay * update))
    rows = cosines(x_BD, head.weight_SD)
    regions = set()
    for x, row, label, loss, is_hit in zip(
        x_BD.tolist(), rows, labels_B.tolist(), losses_B.tolist(), hits_B.tolist(), strict=True
    ):
        angle = math.acos(row[label])
        regions.add(math.floor(settings.multiple * angle / math.pi))
        logits = [norm(x) * c for c in row]
        logits[label] = norm(x) * (row[label] + (psi(angle, settings.multiple) - row[label]) / (1 + annealing))
        assert loss == pytest.approx(cross_entropy(logits, label), rel=1e-9)
        assert is_hit == hit(row, label)
    assert len(regions) > 2


def test_the_annealing_is_the_published_one():
    head = head_of(ASoftmax())
    assert head.annealing() == 1000.0
    for update, expected in ((1, 1000 / 1.12), (100, 1000 / 13.0), (1658, 1000 / 199.96), (1659, 5.0), (10**7, 5.0)):
        head.update = update
        assert head.annealing() == pytest.approx(expected)
    assert head.margin == 0.0


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 5])
def test_psi_falls_over_all_angles_and_is_its_formula(multiple):
    angles = torch.linspace(1e-4, math.pi - 1e-4, 999, dtype=torch.float64)
    found = falling_cosine(angles.cos(), multiple)
    assert found.tolist() == pytest.approx([psi(angle, multiple) for angle in angles.tolist()], abs=1e-9)
    assert (found.diff() < 0).all()
    ends = falling_cosine(torch.tensor([1.0, -1.0]), multiple)
    assert ends.tolist() == [1.0, 1.0 - 2.0 * multiple]


def test_an_embedding_of_length_zero_has_a_finite_gradient():
    head = head_of(ASoftmax())
    x_BD = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    losses_B, hits_B = head(x_BD, torch.tensor([0, 3]))
    losses_B.sum().backward()
    assert losses_B.tolist() == pytest.approx([math.log(7)] * 2)
    assert not hits_B.any()
    assert torch.isfinite(x_BD.grad).all()


def g(z, power):
    return 2 * ((z + 1) / 2) ** power - 1


def logits_of(form, angle, settings, bias, sign):
    """What the sigmoid of one speaker sees; sign +1 for the target, -1 for another one."""
    if form == "C":
        return settings.scale * (g(math.cos(angle), settings.power) - sign * settings.margin) + bias
    shifted = math.cos(angle + sign * settings.margin)
    if sign > 0 and angle + settings.margin >= math.pi:
        shifted = math.cos(angle) - (1 + math.cos(math.pi - settings.margin))
    return settings.scale * g(shifted, settings.power) + bias


@pytest.mark.parametrize("form", ["C", "A"])
@pytest.mark.parametrize("values", [{}, {"scale": 7.0, "margin": 0.5, "balance": 0.6, "power": 2}])
def test_sphereface2_is_that_of_loops(form, values):
    settings = SphereFace2(form=form, **values)
    head = head_of(settings)
    x_BD, labels_B = example()
    with torch.no_grad():
        x_BD[:2] = head.weight_SD[labels_B[:2]] + 0.1 * x_BD[:2] * head.weight_SD.abs().mean()
        x_BD[-1] = -head.weight_SD[labels_B[-1]] + 0.05 * x_BD[-1] * head.weight_SD.abs().mean()
        losses_B, hits_B = head(x_BD, labels_B)
    bias = head.bias.item()
    assert bias != 0.0
    rows = cosines(x_BD, head.weight_SD)
    for row, label, loss, is_hit in zip(rows, labels_B.tolist(), losses_B.tolist(), hits_B.tolist(), strict=True):
        expected = 0.0
        for j, c in enumerate(row):
            if j == label:
                value = logits_of(form, math.acos(c), settings, bias, 1)
                expected += settings.balance * math.log(1 + math.exp(-value))
            else:
                value = logits_of(form, math.acos(c), settings, bias, -1)
                expected += (1 - settings.balance) * math.log(1 + math.exp(value))
        assert loss == pytest.approx(expected, rel=1e-9)
        assert is_hit == hit(row, label)
    assert set(hits_B.tolist()) == {True, False}


def test_the_bias_of_sphereface2_is_learnt_and_begins_at_zero():
    torch.manual_seed(0)
    head = build_head(SphereFace2(), 5, 7)
    assert head.bias.item() == 0.0
    x_BD, labels_B = example()
    head(x_BD.float(), labels_B)[0].mean().backward()
    assert head.bias.grad.abs() > 0
