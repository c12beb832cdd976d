"""Heads against double loops over the formulas, and their gradients against differences."""

import math

import pytest
import torch
from torch import tensor

from steps.nnet.models import HEADS, build_head
from steps.nnet.settings import AAM, AM, HEAD_SETTINGS, Softmax

DIM, SPEAKERS, BATCH = 5, 7, 12


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_BD = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64)
    labels_B = torch.randint(SPEAKERS, (BATCH,), generator=generator)
    return x_BD, labels_B


def head_of(settings, seed=0):
    torch.manual_seed(seed)
    return build_head(settings, DIM, SPEAKERS).double()


def cross_entropy_by_loops(logits, labels):
    losses = []
    for row, label in zip(logits, labels, strict=True):
        losses.append(math.log(sum(math.exp(value) for value in row)) - row[label])
    return sum(losses) / len(losses)


def angles_by_loops(x_BD, weight_SD):
    def angle(a, b):
        dot = sum(p * q for p, q in zip(a, b, strict=True))
        return math.acos(dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b)))

    return [[angle(x, w) for w in weight_SD.tolist()] for x in x_BD.tolist()]


def am_target(angle, margin):
    return math.cos(angle) - margin


def aam_target(angle, margin):
    return math.cos(angle + margin) if angle + margin < math.pi else math.cos(angle) - margin * math.sin(margin)


def aam_easy_target(angle, margin):
    return math.cos(angle + margin) if angle < math.pi / 2 else math.cos(angle)


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        (AM(scale=30.0, margin=0.2), am_target),
        (AAM(scale=32.0, margin=0.2), aam_target),
        (AAM(scale=10.0, margin=1.2), aam_target),
        (AAM(scale=32.0, margin=0.5, easy_margin=True), aam_easy_target),
    ],
)
def test_margin_losses_are_those_of_loops_over_the_formula(settings, target):
    head = head_of(settings)
    x_BD, labels_B = example()
    with torch.no_grad():
        # The last two examples lie on the far side of their class vectors, where the guard acts.
        x_BD[-2:] = -head.weight_SD[labels_B[-2:]] + 0.05 * x_BD[-2:] * head.weight_SD.abs().mean()
        loss, logits_BS = head(x_BD, labels_B)
    angles = angles_by_loops(x_BD, head.weight_SD)
    plain = [[settings.scale * math.cos(angle) for angle in row] for row in angles]
    torch.testing.assert_close(logits_BS, tensor(plain, dtype=torch.float64), rtol=0, atol=1e-10)
    for row, row_angles, label in zip(plain, angles, labels_B.tolist(), strict=True):
        row[label] = settings.scale * target(row_angles[label], settings.margin)
    assert any(row[label] > math.pi - settings.margin for row, label in zip(angles, labels_B.tolist(), strict=True))
    assert loss.item() == pytest.approx(cross_entropy_by_loops(plain, labels_B.tolist()), rel=1e-9)


def test_softmax_loss_is_that_of_loops():
    head = head_of(Softmax())
    torch.nn.init.normal_(head.bias_S)
    x_BD, labels_B = example()
    loss, logits_BS = head(x_BD, labels_B)
    logits = [
        [sum(p * q for p, q in zip(x, w, strict=True)) + b for w, b in zip(*weights, strict=True)]
        for weights in [(head.weight_SD.tolist(), head.bias_S.tolist())]
        for x in x_BD.tolist()
    ]
    torch.testing.assert_close(logits_BS, tensor(logits, dtype=torch.float64))
    assert loss.item() == pytest.approx(cross_entropy_by_loops(logits, labels_B.tolist()), rel=1e-12)


ALL = [Softmax(), AM(scale=5.0), AAM(scale=5.0), AAM(scale=5.0, margin=1.2), AAM(scale=5.0, easy_margin=True)]


@pytest.mark.parametrize("settings", ALL)
def test_gradients_are_those_of_differences(settings):
    head = head_of(settings)
    x_BD, labels_B = example()
    weight_SD = head.weight_SD.detach().clone().requires_grad_()

    def loss(x, weight):
        return torch.func.functional_call(head, {"weight_SD": weight}, (x, labels_B))[0]

    assert torch.autograd.gradcheck(loss, (x_BD.requires_grad_(), weight_SD))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("settings", [AM(), AAM(), AAM(easy_margin=True)])
def test_gradient_is_finite_where_an_embedding_lies_on_its_class_vector(settings, sign):
    torch.manual_seed(0)
    head = build_head(settings, DIM, SPEAKERS)
    x_BD = (sign * 3.0 * head.weight_SD.detach()).requires_grad_()
    loss, _ = head(x_BD, torch.arange(SPEAKERS))
    loss.backward()
    assert torch.isfinite(x_BD.grad).all()
    assert torch.isfinite(head.weight_SD.grad).all()


@pytest.mark.parametrize("settings", [AM(margin=0.0), AAM(margin=0.0)])
def test_without_margin_both_are_the_cross_entropy_of_the_returned_logits(settings):
    head = head_of(settings)
    x_BD, labels_B = example()
    loss, logits_BS = head(x_BD, labels_B)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits_BS, labels_B).item(), rel=1e-6)


@pytest.mark.parametrize("settings", [AM(), AAM()])
def test_the_margin_can_be_set_and_a_larger_one_costs_more(settings):
    head = head_of(settings)
    x_BD, labels_B = example()
    losses, logits = [], []
    for margin in (0.0, 0.1, 0.2, 0.4):
        head.margin = margin
        loss, logits_BS = head(x_BD, labels_B)
        losses.append(loss.item())
        logits.append(logits_BS)
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]
    assert all(torch.equal(logits[0], other) for other in logits)


def test_target_cosine_falls_with_the_angle_over_all_of_it():
    head = head_of(AAM(margin=0.5))
    cosines = torch.linspace(-1.0, 1.0, 2001, dtype=torch.float64)
    assert (head.target_cosine(cosines).diff() > 0).all()


@pytest.mark.parametrize("settings", ALL)
def test_heads_compute_in_float32_under_autocast(settings):
    torch.manual_seed(0)
    head = build_head(settings, DIM, SPEAKERS)
    x_BD, labels_B = example()
    x_BD = x_BD.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss, logits_BS = head(x_BD, labels_B)
    expected, expected_BS = head(x_BD.float(), labels_B)
    assert (loss.dtype, logits_BS.dtype) == (torch.float32, torch.float32)
    assert torch.equal(loss, expected)
    assert torch.equal(logits_BS, expected_BS)


def test_wrong_heads_are_refused():
    assert HEADS.keys() == HEAD_SETTINGS.keys()
    settings = AAM()
    object.__setattr__(settings, "type", "sphere")
    with pytest.raises(ValueError, match="found 'sphere'"):
        build_head(settings, DIM, SPEAKERS)
    with pytest.raises(ValueError, match="at least 2 speakers, found 1"):
        build_head(AAM(), DIM, 1)
