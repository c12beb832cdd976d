"""What holds for every head that classifies speakers: gradients, precision, margins, shapes."""

import pytest
import torch
from torch.func import functional_call

from steps.nnet.models import HEADS, build_head
from steps.nnet.settings import (
    AAM,
    AM,
    HEAD_SETTINGS,
    ASoftmax,
    Centre,
    Combined,
    Heo,
    L2Softmax,
    Softmax,
    SphereFace2,
    SubCentre,
)
from tests.nnet.heads.loops import BATCH, DIM, SPEAKERS, example, head_of

ALL = [
    Softmax(),
    Softmax(bias=False),
    L2Softmax(alpha=4.0),
    L2Softmax(alpha=4.0, learn_alpha=True),
    AM(scale=5.0),
    AAM(scale=5.0),
    AAM(scale=5.0, margin=1.2),
    AAM(scale=5.0, margin=1.2, guard="wespeaker"),
    AAM(scale=5.0, easy_margin=True),
    Combined(scale=5.0, margin=0.3, cosine_margin=0.1, angle_factor=1.3),
    SubCentre(scale=5.0),
    SubCentre(scale=5.0, num_centres=1, num_hard=0),
    ASoftmax(),
    ASoftmax(multiple=3, lambda_start=0.5, lambda_min=0.5),
    SphereFace2(scale=5.0),
    SphereFace2(scale=5.0, form="A"),
    Centre(weight=0.5),
    Centre(base="aam", scale=5.0, margin=0.2, weight=0.5),
    Heo(between="form2", hard="log_sum", num_hard=3, hard_scale=2.0),
    Heo(between="form1", hard="sum_log", num_hard=3),
]
WITH_MARGIN = [
    AM(),
    AAM(),
    Combined(),
    SubCentre(),
    SphereFace2(),
    SphereFace2(form="A"),
    Centre(base="am", scale=30.0, margin=0.2),
]
WITHOUT = [Softmax(), Softmax(bias=False), L2Softmax(), ASoftmax(), Centre(), Heo()]


@pytest.mark.parametrize("settings", ALL)
def test_gradients_of_embeddings_and_weights_are_those_of_differences(settings):
    head = head_of(settings).eval()
    x_BD, labels_B = example()
    names = [name for name, _ in head.named_parameters()]
    values = [value.detach().clone().requires_grad_() for _, value in head.named_parameters()]

    def loss(x, *values):
        return functional_call(head, dict(zip(names, values, strict=True)), (x, labels_B))[0]

    assert torch.autograd.gradcheck(loss, (x_BD.requires_grad_(), *values))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("settings", [*WITH_MARGIN, *WITHOUT, AAM(easy_margin=True), AAM(guard="wespeaker"), Heo(hard="sum_log")])
def test_gradient_is_finite_where_an_embedding_lies_on_its_class_vector(settings, sign):
    torch.manual_seed(0)
    head = build_head(settings, DIM, SPEAKERS)
    weight_SD = next(value for name, value in head.named_parameters() if name.endswith("weight_SD")).detach()
    x_BD = (sign * 3.0 * weight_SD[:: len(weight_SD) // SPEAKERS]).requires_grad_()
    losses_B, _ = head(x_BD, torch.arange(SPEAKERS))
    losses_B.mean().backward()
    assert torch.isfinite(losses_B).all()
    assert torch.isfinite(x_BD.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize("settings", ALL)
def test_heads_compute_in_float32_under_autocast(settings):
    torch.manual_seed(0)
    head = build_head(settings, DIM, SPEAKERS).eval()
    x_BD, labels_B = example()
    x_BD = x_BD.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        losses_B, hits_B = head(x_BD, labels_B)
    expected_B, expected_hits_B = head(x_BD.float(), labels_B)
    assert (losses_B.dtype, losses_B.shape) == (torch.float32, (BATCH,))
    assert (hits_B.dtype, hits_B.requires_grad) == (torch.bool, False)
    assert torch.equal(losses_B, expected_B)
    assert torch.equal(hits_B, expected_hits_B)


@pytest.mark.parametrize("settings", ALL)
def test_losses_of_a_batch_are_those_of_its_examples_one_by_one(settings):
    head = head_of(settings).eval()
    x_BD, labels_B = example()
    losses_B, hits_B = head(x_BD, labels_B)
    for i in range(BATCH):
        loss_1, hit_1 = head(x_BD[i : i + 1], labels_B[i : i + 1])
        torch.testing.assert_close(loss_1, losses_B[i : i + 1])
        assert torch.equal(hit_1, hits_B[i : i + 1])


@pytest.mark.parametrize("settings", WITH_MARGIN)
def test_the_margin_can_be_set_and_a_larger_one_costs_more_but_moves_no_hit(settings):
    head = head_of(settings).eval()
    assert head.margin == settings.margin > 0
    x_BD, labels_B = example()
    losses, hits = [], []
    for margin in (0.0, 0.1, 0.2, 0.4):
        head.margin = margin
        losses_B, hits_B = head(x_BD, labels_B)
        losses.append(losses_B.mean().item())
        hits.append(hits_B)
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]
    assert all(torch.equal(hits[0], other) for other in hits)


@pytest.mark.parametrize("settings", WITHOUT)
def test_heads_without_a_margin_leave_nothing_to_a_schedule(settings):
    assert head_of(settings).margin == 0.0


@pytest.mark.parametrize("settings", ALL)
def test_two_speakers_are_enough(settings):
    torch.manual_seed(0)
    head = build_head(settings, DIM, 2)
    losses_B, _ = head(torch.randn(4, DIM), torch.tensor([0, 1, 1, 0]))
    losses_B.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_wrong_heads_are_refused():
    assert HEADS.keys() == HEAD_SETTINGS.keys()
    settings = AAM()
    object.__setattr__(settings, "type", "sphere")
    with pytest.raises(ValueError, match="found 'sphere'"):
        build_head(settings, DIM, SPEAKERS)
    with pytest.raises(ValueError, match="at least 2 speakers, found 1"):
        build_head(AAM(), DIM, 1)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (L2Softmax, {"alpha": 0.0}), (Combined, {"margin": 1.6}), (Combined, {"angle_factor": 0.5}),
        (SubCentre, {"num_centres": 0}), (SubCentre, {"num_hard": -1}), (SubCentre, {"guard": "none"}),
        (ASoftmax, {"multiple": 0}), (ASoftmax, {"lambda_min": 2000.0}), (SphereFace2, {"form": "B"}),
        (SphereFace2, {"balance": 1.1}), (Centre, {"rate": 1.5}), (Heo, {"between": "form3"}), (Heo, {"hard": "max"}),
        (Heo, {"num_hard": 0}),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, wrong):
    with pytest.raises(ValueError, match="expected"):
        settings(**wrong)
