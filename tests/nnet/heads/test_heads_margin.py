"""Softmax and margin heads against double loops over the formulas."""

import math

import pytest
import torch
from torch import tensor

from steps.nnet.heads.l2_softmax import least_alpha
from steps.nnet.heads.margin import guarded_cosine
from steps.nnet.models import build_head, num_parameters
from steps.nnet.settings import AAM, AM, Combined, L2Softmax, Softmax, SubCentre
from tests.nnet.heads.loops import DIM, SPEAKERS, cosines, cross_entropy, dot, example, head_of, hit, norm


def am_target(angle, s):
    return math.cos(angle) - s.margin


def aam_target(angle, s):
    if angle + s.margin < math.pi:
        return math.cos(angle + s.margin)
    if s.guard == "wespeaker":
        return math.cos(angle) - (1 + math.cos(math.pi - s.margin))
    return math.cos(angle) - s.margin * math.sin(s.margin)


def aam_easy_target(angle, s):
    return math.cos(angle + s.margin) if angle < math.pi / 2 else math.cos(angle)


def combined_target(angle, s):
    return math.cos(s.angle_factor * angle + s.margin) - s.cosine_margin


def check(head, settings, target, x_BD, labels_B, class_cosines):
    """Losses and hits are those of the formula; returns the angles of the targets."""
    losses_B, hits_B = head(x_BD, labels_B)
    angles = []
    for row, label, loss, is_hit in zip(class_cosines, labels_B.tolist(), losses_B.tolist(), hits_B.tolist(), strict=True):
        assert is_hit == hit(row, label)
        angles.append(math.acos(row[label]))
        logits = [settings.scale * c for c in row]
        logits[label] = settings.scale * target(angles[-1], settings)
        assert loss == pytest.approx(cross_entropy(logits, label), rel=1e-9)
    assert set(hits_B.tolist()) == {True, False}
    return angles


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        (AM(scale=30.0, margin=0.2), am_target),
        (AAM(scale=32.0, margin=0.2), aam_target),
        (AAM(scale=10.0, margin=1.2), aam_target),
        (AAM(scale=10.0, margin=1.2, guard="wespeaker"), aam_target),
        (AAM(scale=32.0, margin=0.5, easy_margin=True), aam_easy_target),
        (Combined(), combined_target),
        (Combined(scale=10.0, margin=0.3, cosine_margin=0.1, angle_factor=1.35), combined_target),
    ],
)
def test_margin_losses_are_those_of_loops_over_the_formula(settings, target):
    head = head_of(settings)
    x_BD, labels_B = example()
    with torch.no_grad():
        # The first two examples lie near their class vectors; the last two on the far side of them, where guards act.
        x_BD[:2] = head.weight_SD[labels_B[:2]] + 0.1 * x_BD[:2] * head.weight_SD.abs().mean()
        x_BD[-2:] = -head.weight_SD[labels_B[-2:]] + 0.05 * x_BD[-2:] * head.weight_SD.abs().mean()
        angles = check(head, settings, target, x_BD, labels_B, cosines(x_BD, head.weight_SD))
    assert min(angles) < 0.5
    assert max(angles) > math.pi - settings.margin


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize(
    ("num_centres", "num_hard", "penalty"), [(3, 2, 0.06), (1, 2, 0.3), (3, 0, 0.06), (2, 5, 0.1), (2, 99, 0.1)]
)
def test_sub_centres_and_the_penalty_on_the_nearest_are_those_of_loops(num_centres, num_hard, penalty, margin):
    settings = SubCentre(scale=9.0, margin=margin, num_centres=num_centres, num_hard=num_hard, hard_penalty=penalty)
    head = head_of(settings)
    assert num_parameters(head) == SPEAKERS * num_centres * DIM
    x_BD, labels_B = example()
    x_BD[-1] = -head.weight_SD.detach()[labels_B[-1] * num_centres]
    with torch.no_grad():
        losses_B, hits_B = head(x_BD, labels_B)
    rows = cosines(x_BD, head.weight_SD)
    for row, label, loss, is_hit in zip(rows, labels_B.tolist(), losses_B.tolist(), hits_B.tolist(), strict=True):
        nearest = [max(row[j * num_centres : (j + 1) * num_centres]) for j in range(SPEAKERS)]
        others = sorted((j for j in range(SPEAKERS) if j != label), key=lambda j: -nearest[j])
        logits = [9.0 * c for c in nearest]
        for j in others[:num_hard]:
            logits[j] = 9.0 * math.cos(math.acos(nearest[j]) - penalty)
        logits[label] = 9.0 * aam_target(math.acos(nearest[label]), settings)
        assert loss == pytest.approx(cross_entropy(logits, label), rel=1e-9)
        assert is_hit == hit(nearest, label)


def test_one_centre_without_hard_speakers_is_aam():
    x_BD, labels_B = example()
    plain, other = head_of(AAM(guard="wespeaker")), head_of(SubCentre(num_centres=1, num_hard=0, guard="wespeaker"))
    for found, expected in zip(other(x_BD, labels_B), plain(x_BD, labels_B), strict=True):
        assert torch.equal(found, expected)


def test_the_penalty_of_the_nearest_grows_with_the_margin():
    head = head_of(SubCentre(margin=0.4, hard_penalty=0.08))
    for margin, penalty in ((0.4, 0.08), (0.1, 0.02), (0.0, 0.0)):
        head.margin = margin
        assert head.penalty() == pytest.approx(penalty)


@pytest.mark.parametrize("settings", [Softmax(), Softmax(bias=False), L2Softmax(), L2Softmax(alpha=3.0, learn_alpha=True)])
def test_softmax_losses_are_those_of_loops(settings):
    head = head_of(settings)
    x_BD, labels_B = example()
    losses_B, hits_B = head(x_BD, labels_B)
    biases = [0.0] * SPEAKERS if head.bias_S is None else head.bias_S.tolist()
    weights = list(zip(head.weight_SD.tolist(), biases, strict=True))
    for x, label, loss, is_hit in zip(x_BD.tolist(), labels_B.tolist(), losses_B.tolist(), hits_B.tolist(), strict=True):
        factor = 1.0 if settings.type == "softmax" else settings.alpha / norm(x)
        logits = [factor * dot(x, w) + b for w, b in weights]
        assert loss == pytest.approx(cross_entropy(logits, label), rel=1e-12)
        assert is_hit == hit(logits, label)


def test_a_softmax_without_bias_has_nothing_but_class_vectors():
    head = head_of(Softmax(bias=False))
    assert [name for name, _ in head.named_parameters()] == ["weight_SD"]
    losses_B, _ = head(torch.zeros(2, DIM, dtype=torch.float64), torch.tensor([0, 1]))
    assert losses_B.tolist() == pytest.approx([math.log(SPEAKERS)] * 2)  # no speaker is likelier than another
    with pytest.raises(RuntimeError, match="bias_S"):
        head.load_state_dict(head_of(Softmax()).state_dict())


def test_alpha_is_a_parameter_only_where_it_is_learnt():
    fixed, learnt = (build_head(L2Softmax(learn_alpha=choice), DIM, SPEAKERS) for choice in (False, True))
    assert num_parameters(fixed) == SPEAKERS * (DIM + 1)
    assert num_parameters(learnt) == num_parameters(fixed) + 1
    x_BD, labels_B = example()
    learnt(x_BD.float(), labels_B)[0].mean().backward()
    assert learnt.alpha.item() == 16.0
    assert learnt.alpha.grad.abs() > 0


@pytest.mark.parametrize(
    ("num_speakers", "p", "expected"),
    [(5994, 0.9, 10.9), (5994, 0.95, 11.6), (5994, 0.99, 13.3), (1211, 0.9, 9.3), (1211, 0.95, 10.0), (1211, 0.99, 11.7)],
)
def test_the_least_alpha_is_the_published_arithmetic(num_speakers, p, expected):
    alpha = least_alpha(p, num_speakers)
    assert alpha == pytest.approx(expected, abs=0.05)
    # An embedding on its class vector, the others at right angles: p is that of the softmax.
    assert math.exp(alpha) / (math.exp(alpha) + num_speakers - 2) == pytest.approx(p)


@pytest.mark.parametrize("settings", [AM(margin=0.0), AAM(margin=0.0), Combined(margin=0.0, cosine_margin=0.0)])
def test_without_margin_all_are_the_cross_entropy_of_the_cosines(settings):
    head = head_of(settings)
    x_BD, labels_B = example()
    losses_B, _ = head(x_BD, labels_B)
    unit = torch.nn.functional.normalize
    logits_BS = settings.scale * unit(x_BD) @ unit(head.weight_SD).T
    torch.testing.assert_close(losses_B, torch.nn.functional.cross_entropy(logits_BS, labels_B, reduction="none"))


@pytest.mark.parametrize("guard", ["but", "wespeaker"])
@pytest.mark.parametrize("margin", [0.2, 0.5])
def test_target_cosine_falls_with_the_angle_over_all_of_it(guard, margin):
    found = guarded_cosine(torch.linspace(-1.0, 1.0, 2001, dtype=torch.float64), margin, guard)
    assert (found.diff() > 0).all()


def test_the_guard_of_wespeaker_joins_without_a_step_and_that_of_but_does_not():
    edge = tensor([math.cos(math.pi - 0.5) - 1e-9, math.cos(math.pi - 0.5) + 1e-9], dtype=torch.float64)
    assert guarded_cosine(edge, 0.5, "wespeaker").tolist() == pytest.approx([-1.0, -1.0], abs=1e-6)
    step = guarded_cosine(edge, 0.5, "but").diff().item()
    assert step == pytest.approx(-1.0 - (math.cos(math.pi - 0.5) - 0.5 * math.sin(0.5)), abs=1e-6)


def test_guards_without_effect_are_refused():
    with pytest.raises(ValueError, match="has no effect with easy_margin"):
        AAM(easy_margin=True, guard="wespeaker")
    with pytest.raises(ValueError, match="found 'none'"):
        AAM(guard="none")
